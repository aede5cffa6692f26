"""Instances of a chart: one for the life of a machine, or one that is borrowed for each event.

python-statemachine takes as long to make an instance as for five events: it resolves every callback of every
transition. So machines borrow an instance, which finds the model of the machine behind a stand-in. The library still
selects the transition, checks its conditions, calls its action and sets the state.

No callback may notice that. `pool_of` is sure of it for a chart that a table can express, whose actions and conditions
are the model's and ask for none of the library's own objects. The machines of all other charts, and those with
listeners, have an instance for life.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from functools import cache, wraps
from inspect import Parameter, signature
from typing import Any

import attrs

from taskrunner.errors import Bug
from taskrunner.machines.chart import RESERVED, Chart
from taskrunner.machines.table import Table, called_by_name, declare, read_table

Event = tuple[str, Mapping[str, Any]]

TAKES_ALL = {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}


@attrs.frozen
class OwnInstance:
    """The instance of one machine."""

    chart: Chart[Any]

    def send(self, _: Any, event: str, data: Mapping[str, Any]) -> object:
        """Raises what the library does."""
        return self.chart.send(event, **data)


class StandIn:
    """The model of a borrowed instance: has the actions and conditions of the model that is behind it."""

    model: Any = None

    @property
    def state(self) -> Any:
        return self.model.state

    @state.setter
    def state(self, value: str) -> None:
        self.model.state = value


@attrs.frozen
class Borrowed:
    """An instance of the chart of one event, and what stands in for the model in it."""

    stand_in: StandIn
    send: Callable[..., object]


@attrs.define(eq=False)
class InstancePool:
    """The instances of one chart, for the models of one class. There is one for each event, unless an action sends
    another machine the same event, or machines move in several threads."""

    table: Table
    stand_in: type[StandIn]
    _free: defaultdict[str, deque[Borrowed]] = attrs.field(init=False, factory=lambda: defaultdict(deque))
    """By event."""
    _moving: dict[int, deque[Event]] = attrs.field(init=False, factory=dict)
    """The events that wait for the end of a move, by the identity of the model."""

    def send(self, model: Any, event: str, data: Mapping[str, Any]) -> object:
        """Sends an event to the machine of a model. One from its own action waits for the end of the move, as the
        library documents. Raises what the library does."""
        if (waiting := self._moving.get(id(model))) is not None:
            waiting.append((event, data))
            return None
        waiting = self._moving[id(model)] = deque()
        try:
            outcome = self._move(model, event, data)
            while waiting:
                self._move(model, *waiting.popleft())
        finally:
            del self._moving[id(model)]
        return outcome

    def fill(self, model: Any) -> None:
        """Makes the instance of each event that has none. `model` begins, and stays where it is."""
        for event in self.table.events:
            if not self._free[event]:
                self._give_back(event, self._make(model, event))

    def _move(self, model: Any, event: str, data: Mapping[str, Any]) -> object:
        try:
            borrowed = self._free[event].pop()
            borrowed.stand_in.model = model
        except IndexError:
            borrowed = self._make(model, event)
        try:
            return borrowed.send(**data)
        finally:
            self._give_back(event, borrowed)

    def _give_back(self, event: str, borrowed: Borrowed) -> None:
        borrowed.stand_in.model = None
        self._free[event].append(borrowed)

    def _make(self, model: Any, event: str) -> Borrowed:
        """The library looks at each transition of a state, so that an instance has those of its event alone. It has no
        final state, in which it would take no more events."""
        rows = tuple(row for row in self.table.rows if row.event == event)
        chart = declare(attrs.evolve(self.table, final=(), events=(event,), rows=rows), complete=False)
        stand_in = self.stand_in()
        stand_in.model = model
        return Borrowed(stand_in, getattr(chart(stand_in), event))


# ---- which charts have a pool ---------------------------------------------------------------------------


@cache
def pool_of(chart: type[Chart[Any]], model: type) -> InstancePool | None:
    """The pool of a chart for the models of this class. None: its machines need an instance each."""
    try:
        table = read_table(chart)
    except Bug:
        return None
    if not _adds_nothing(chart, declare(table, complete=False)) or not _all_in_model(table, chart, model):
        return None
    return InstancePool(table, _stand_in_for(table, model))


def _adds_nothing(chart: type[Chart[Any]], declared: type[Chart[Any]]) -> bool:
    """Whether a chart is its table: no setting, method or listener is beside its states and events."""
    added = {name for name in vars(chart).keys() - vars(declared).keys() if not name.startswith("__")}
    return chart.__bases__ == declared.__bases__ and not added


def _all_in_model(table: Table, chart: type[Chart[Any]], model: type) -> bool:
    """Whether all callbacks are the model's, named by the table."""
    if any(hasattr(model, name) for name in called_by_name(table)):
        return False
    actions = [getattr(model, name, None) for name in table.actions]
    conditions = [getattr(model, name, _MISSING) for name in table.conditions]
    return (
        not any(hasattr(chart, name) for name in table.actions | table.conditions)  # the library would call both
        and all(map(_asks_for_data_only, actions))
        and not any(each is _MISSING or callable(each) for each in conditions)
    )


_MISSING = object()


def _asks_for_data_only(action: Any) -> bool:
    """Whether it can be called, with the data of an event and nothing else."""
    if not callable(action):
        return False
    parameters = signature(action).parameters.values()
    return not any(each.name in RESERVED - {"self"} or each.kind in TAKES_ALL for each in parameters)


def _stand_in_for(table: Table, model: type) -> type[StandIn]:
    members: dict[str, Any] = {name: _call(name, getattr(model, name)) for name in table.actions}
    members |= {name: _check(name) for name in table.conditions}
    # The library keeps the signatures of methods by the name of their class, so that this one must be unique.
    return type(f"{model.__qualname__} {id(model)}", (StandIn,), members)


def _call(name: str, action: Any) -> Any:
    @wraps(action)  # the library reads its parameters
    def call(self: StandIn, *arguments: Any, **data: Any) -> Any:
        return getattr(self.model, name)(*arguments, **data)

    return call


def _check(name: str) -> property:
    return property(lambda self: bool(getattr(self.model, name)))
