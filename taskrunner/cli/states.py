"""`taskrunner states`: the state machines, printed from their declaration."""

from __future__ import annotations

from typing import Any

import click

from taskrunner.machines.chart import Chart
from taskrunner.machines.render import FORMATS
from taskrunner.machines.table import read_table
from taskrunner.machines.task import TaskChart
from taskrunner.machines.worker import WorkerChart

MACHINES: dict[str, type[Chart[Any]]] = {"task": TaskChart, "worker": WorkerChart}


@click.command("states")
@click.argument("machine", type=click.Choice(list(MACHINES)))
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="table", show_default=True)
def states_verb(machine: str, form: str) -> None:
    r"""Print a state machine from its declaration: which event does what in which state.

    The table and JSON show everything, also events that move nothing (`·`); an empty cell is an event that the state
    refuses. The diagrams, Mermaid and Graphviz, show the moves.

    \b
    Example:
      taskrunner states task
      taskrunner states worker --format dot | dot -Tsvg > worker.svg
    """
    click.echo(FORMATS[form](read_table(MACHINES[machine])), nl=False)
