"""Makes the pages about the two machines from their declaration: `python script/pages.py`.

A test fails when a page is not what this would write.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from taskrunner.machines import task, worker
from taskrunner.machines.chart import Chart
from taskrunner.machines.table import FORMATS, read

DOCS = Path(__file__).resolve().parents[1] / "docs"
MACHINES: dict[str, tuple[ModuleType, type[Chart[Any]]]] = {
    "task": (task, task.TaskChart),
    "worker": (worker, worker.WorkerChart),
}

PAGE = """\
% Made by script/pages.py from taskrunner/machines/{name}.py. Change that, and make this again.

# {title}

{theory}

## The moves

```mermaid
{diagram}```

## Every event in every state

`→` moves, `·` stays, an empty cell is refused with an error that names machine, state and event. In brackets stands
what the model does. `taskrunner states {name} --format json` prints the same for programs.

{table}"""


def page(name: str) -> str:
    """The page about one machine, as it should be."""
    module, machine = MACHINES[name]
    title, _, theory = (module.__doc__ or "").partition("\n\n")
    table = read(machine)
    return PAGE.format(
        name=name,
        title=title.rstrip("."),
        theory=theory.removeprefix("Theory of operation").lstrip(".: ").strip("\n").replace("::\n", ":\n"),
        diagram=FORMATS["mermaid"](table),
        table=FORMATS["table"](table),
    )


def main() -> int:
    for name in MACHINES:
        (DOCS / f"{name}.md").write_text(page(name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
