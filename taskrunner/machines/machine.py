"""Machine: one life of a chart, stepped through the table of its declaration.

python-statemachine holds the declaration, checks it when the class is made, and the pages are drawn from it. Stepping
is done here: an instance of a chart costs 0.8 ms to make and 0.2 ms an event, which for a task that runs `true` is as
much as everything else together; a step through the table costs 1.5 µs. There is no second truth: the table is read
from the declaration, and the tests hold each step against what python-statemachine makes of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from taskrunner.errors import Bug
from taskrunner.machines.chart import Chart, Move, Refused, Signal
from taskrunner.machines.table import Row, Table, read


class Stateful(Protocol):
    """A model: what is known beside the state. Its methods are the actions and conditions of the chart."""

    state: str | None
    """The state's name; None at first."""


M = TypeVar("M", bound=Stateful)


class Machine(Generic[M]):
    """Begins in the state that its model names, or in the initial one. A subclass names its chart."""

    chart: ClassVar[type[Chart[Any]]]
    """The declaration."""

    def __init__(self, model: M) -> None:
        """Raises: Bug (there is no such state)."""
        self.table, self._rows = _stepwise(self.chart)
        self.model = model
        self.model.state = model.state or self.table.initial
        if self.model.state not in self.table.states:
            raise Bug(f"the {self.kind} machine has no state {self.at!r}: it has {', '.join(self.table.states)}")

    @property
    def kind(self) -> str:
        return self.table.kind

    @property
    def at(self) -> str:
        """The state's name."""
        return str(self.model.state)

    @property
    def over(self) -> bool:
        return self.at in self.table.final

    def take(self, signal: Signal) -> Move:
        """Takes one event. Raises Refused, and changes nothing, when this state does not know it."""
        before, event = self.at, str(signal.event)
        for row in self._rows.get((before, event), ()):
            if row.holds(self.model):
                if row.action:
                    getattr(self.model, row.action)(**signal.data)
                self.model.state = row.target
                return Move(before, event, row.target)
        raise Refused(self.kind, before, event)


@cache
def _stepwise(chart: type[Chart[Any]]) -> tuple[Table, Mapping[tuple[str, str], Sequence[Row]]]:
    """The table of a chart, and its rows by state and event, in the order in which they are tried."""
    table = read(chart)
    rows: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in table.rows:
        rows[row.source, row.event].append(row)
    return table, dict(rows)
