"""Makes the pages about the two machines from their declaration: `python script/pages.py`.

A test fails when a page differs from its output.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from script.diagram import draw
from taskrunner.machines import task, worker
from taskrunner.machines.chart import Chart, Signal
from taskrunner.machines.render import FORMATS
from taskrunner.machines.table import Table, read_table
from taskrunner.model import failed

DOCS = Path(__file__).resolve().parents[1] / "docs"
MACHINES: dict[str, tuple[ModuleType, type[Chart[Any]]]] = {
    "task": (task, task.TaskChart),
    "worker": (worker, worker.WorkerChart),
}
MODELS = {"task": "Attempt", "worker": "Load"}
"""The class that holds what is known beside the state."""

PAGE = """\
% Made by script/pages.py from taskrunner/machines/{name}.py. Change that, and make this again.

# {title}

{theory}

## The moves

![Each state, and the events that lead from it to another]({name}.svg)

## Every event in every state

`→` moves, `·` stays, an empty cell is refused with an error that names machine, state and event.

{table}
## What the model does

With an event, a method of `{model}` is called, before the move. Its parameters are the keys of the event's data: one
without a default must be there. `taskrunner states {name}` prints both tables as one, `--format json` the same for
programs, `--format mermaid` and `--format dot` the diagram.

{actions}{outcomes}"""

OUTCOMES = """
## What follows from an end

The machine decides it, and the worker reads it. Each line is made by giving the event to a machine in that state.

{table}
An end in `claimed` or `loading` is as in `running`, but nothing has been made yet that could be kept, and `shutdown`
releases the run instead of resolving it.
"""

ENDS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("running", "exited", "with 0", {"code": 0}),
    ("running", "exited", "with another code", {"code": 1}),
    ("running", "exited", "with a code to be retried on", {"code": 75}),
    ("running", "failed", "", {"resolution": failed("clone-failed", "")}),
    ("running", "timeout", "", {"message": ""}),
    ("running", "deadline", "", {"message": ""}),
    ("running", "malformed", "", {"message": ""}),
    ("running", "reject", "", {"after": 10.0, "message": ""}),
    ("running", "shutdown", "", {}),
    ("running", "fatal", "", {"message": ""}),
    ("running", "cancel", "", {}),
    ("running", "reclaim_failed", "", {"why": "expired"}),
    ("uploading", "upload_failed", "after a success", {"resolution": failed("artifact-missing", "")}),
    ("uploading", "fatal", "after a success", {"message": ""}),
]
"""State, event, its special case, and its data."""


def page(name: str) -> str:
    """The text of the page about one machine."""
    module, machine = MACHINES[name]
    title, _, theory = (module.__doc__ or "").partition("\n\n")
    table = read_table(machine)
    moves = attrs.evolve(table, rows=tuple(attrs.evolve(row, action="") for row in table.rows))
    return PAGE.format(
        name=name,
        model=MODELS[name],
        title=title.rstrip("."),
        theory=theory.removeprefix("Theory of operation").lstrip(".: ").strip("\n").replace("::\n", ":\n"),
        table=FORMATS["table"](moves).replace("→ ", "→\N{NO-BREAK SPACE}"),
        actions=_actions(table, getattr(module, MODELS[name])),
        outcomes=OUTCOMES.format(table=_outcomes()) if name == "task" else "",
    )


def diagram(name: str) -> str:
    """The SVG of one machine."""
    return draw(read_table(MACHINES[name][1]), f"The moves of a {name}")


def _actions(table: Table, model: type) -> str:
    """Event, the keys of its data, method, and the states in which it is called."""
    states: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        if row.action and row.source not in states.setdefault((row.event, row.action), []):
            states[row.event, row.action].append(row.source)
    order = sorted(states, key=lambda pair: table.events.index(pair[0]))
    lines = [
        f"| {event} | {_data(getattr(model, action))} | `{action}` | {', '.join(states[event, action])} |"
        for event, action in order
    ]
    return "\n".join(["| event | data | method | in |", "|---|---|---|---|", *lines]) + "\n"


def _data(method: Callable[..., None]) -> str:
    """The parameters of a method of a model."""
    parameters = list(inspect.signature(method).parameters.values())[1:]
    return ", ".join(f"`{_parameter(each)}`" for each in parameters) or "none"


def _parameter(parameter: inspect.Parameter) -> str:
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{parameter.name}: {parameter.annotation}{default}"


def _outcomes() -> str:
    """The resolution and the further steps for each event."""
    lines = [_outcome(*end) for end in ENDS]
    head = ["| in | event | resolution | reported | artifacts | caches |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *lines]) + "\n"


def _outcome(state: str, event: str, special: str, data: dict[str, Any]) -> str:
    run = task.Attempt(state=state, retry_on=frozenset({75}))
    if state == "uploading":
        run.exits(0)
    task.TaskMachine(run).take(Signal(event, data))
    if run.lost or state == "uploading":
        report = "no" if run.lost else "after the upload" if run.state == "uploading" else "in cleanup"
    else:
        report = "before the upload" if run.reports_first else "after the upload"
    artifacts = "none" if run.lost or not run.collects else "so far" if run.keeps else "all"
    if run.delivers:
        artifacts += ", then the engine delivers"
    caches = "kept" if run.commits_caches else "discarded"
    what = f"{event} {special}".strip()
    return f"| {state} | {what} | {run.resolution} | {report} | {artifacts} | {caches} |"


def main() -> int:
    for name in MACHINES:
        (DOCS / f"{name}.md").write_text(page(name), encoding="utf-8")
        (DOCS / f"{name}.svg").write_text(diagram(name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
