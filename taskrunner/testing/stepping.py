"""TableMachine: a machine stepped through the table of its declaration, for simulations of whole fleets.

A worker is driven by python-statemachine, which costs 0.1 to 0.3 ms an event. A simulation of ten thousand workers and
their tasks takes that away by stepping through the table, at 1 to 2 µs an event::

    TASKS = read_table(TaskChart)
    fleet = [TableMachine(TASKS, Attempt()) for _ in range(10_000)]

The table refuses by name whatever it cannot express, and the tests of this project hold each step against what
python-statemachine makes of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Generic

from taskrunner.errors import Bug
from taskrunner.machines.chart import Move, Refused, Signal
from taskrunner.machines.machine import M
from taskrunner.machines.table import Row, Table, called_by_name


class TableMachine(Generic[M]):
    """The same door as `Machine`: begins in the state that its model names, or in the initial one."""

    def __init__(self, table: Table, model: M) -> None:
        """Raises: Bug (no such state, or a model with a method that python-statemachine would call by its name)."""
        self.table, self.model = table, model
        self._rows = _by_event(table)
        _check_model(table, type(model))
        model.state = model.state or table.initial
        if model.state not in table.states or model.state in table.final:
            raise Bug(f"the {table.kind} machine cannot begin in {self.at!r}: its states are {', '.join(table.states)}")

    @property
    def at(self) -> str:
        """The state's name."""
        return str(self.model.state)

    @property
    def over(self) -> bool:
        """Whether it is in a final state."""
        return self.at in self.table.final

    def take(self, signal: Signal) -> Move:
        """Takes one event. Raises: Refused, with nothing changed, when this state does not know it."""
        before, event = self.at, str(signal.event)
        for row in self._rows.get((before, event), ()):
            if row.holds(self.model):
                if row.action:
                    getattr(self.model, row.action)(**signal.data)
                self.model.state = row.target
                return Move(before, event, row.target)
        raise Refused(self.table.kind, before, event)


@cache
def _by_event(table: Table) -> Mapping[tuple[str, str], Sequence[Row]]:
    """The rows by state and event, in the order in which they are tried."""
    rows: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in table.rows:
        rows[row.source, row.event].append(row)
    return dict(rows)


@cache
def _check_model(table: Table, model: type) -> None:
    for name in called_by_name(table):
        if hasattr(model, name):
            raise Bug(f"the table of the {table.kind} machine cannot express {model.__name__}.{name}")
