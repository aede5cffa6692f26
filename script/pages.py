"""Makes the pages about the two machines from their declaration: `python script/pages.py`.

A test fails when a page is not what this would write.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from script.diagram import draw
from taskrunner.machines import task, worker
from taskrunner.machines.chart import Chart
from taskrunner.machines.table import FORMATS, Table, read

DOCS = Path(__file__).resolve().parents[1] / "docs"
MACHINES: dict[str, tuple[ModuleType, type[Chart[Any]]]] = {
    "task": (task, task.TaskChart),
    "worker": (worker, worker.WorkerChart),
}
MODELS = {"task": "Attempt", "worker": "Load"}
"""What is known beside the state."""

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

With an event, a method of `{model}` is called, before the move. `taskrunner states {name}` prints both tables as one,
`--format json` the same for programs, `--format mermaid` and `--format dot` the diagram.

{actions}"""


def page(name: str) -> str:
    """The page about one machine, as it should be."""
    module, machine = MACHINES[name]
    title, _, theory = (module.__doc__ or "").partition("\n\n")
    table = read(machine)
    moves = attrs.evolve(table, rows=tuple(attrs.evolve(row, action="") for row in table.rows))
    return PAGE.format(
        name=name,
        model=MODELS[name],
        title=title.rstrip("."),
        theory=theory.removeprefix("Theory of operation").lstrip(".: ").strip("\n").replace("::\n", ":\n"),
        table=FORMATS["table"](moves).replace("→ ", "→\N{NO-BREAK SPACE}"),
        actions=_actions(table),
    )


def diagram(name: str) -> str:
    """Its picture."""
    return draw(read(MACHINES[name][1]), f"The moves of a {name}")


def _actions(table: Table) -> str:
    """Event, method, and the states in which it is called."""
    states: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        if row.action and row.source not in states.setdefault((row.event, row.action), []):
            states[row.event, row.action].append(row.source)
    order = sorted(states, key=lambda pair: table.events.index(pair[0]))
    lines = [f"| {event} | `{action}` | {', '.join(states[event, action])} |" for event, action in order]
    return "\n".join(["| event | method | in |", "|---|---|---|", *lines]) + "\n"


def main() -> int:
    for name in MACHINES:
        (DOCS / f"{name}.md").write_text(page(name), encoding="utf-8")
        (DOCS / f"{name}.svg").write_text(diagram(name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
