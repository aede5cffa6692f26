"""Machine: one life of a chart, driven by python-statemachine.

It adds types and decides nothing. The library's documentation of a chart holds here: actions on entering and leaving a
state, before and after a transition, validators, conditions, several actions, listeners. `instances` decides whether
that takes an instance of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from functools import cache
from inspect import iscoroutinefunction
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from statemachine import State
from statemachine.exceptions import TransitionNotAllowed

from taskrunner.errors import Bug
from taskrunner.machines.chart import Chart, Move, Refused, Signal
from taskrunner.machines.instances import InstancePool, OwnInstance, pool_of


class Stateful(Protocol):
    """A model: the state, and the data beside it. Its methods are the actions and conditions of the chart."""

    state: str | None
    """The state's name; None before the first one."""


M = TypeVar("M", bound=Stateful)


class Machine(Generic[M]):
    """Begins in the state of its model, or in the initial one. A subclass names its chart.

    `listeners` are python-statemachine's: objects whose methods are called by their names as the machine moves
    (`after_transition`, `on_enter_running`).
    """

    chart: ClassVar[type[Chart[Any]]]
    """The declaration."""

    def __init__(self, model: M, *, listeners: Iterable[object] = ()) -> None:
        """Raises: Bug (no such state, a final state, states inside states, or an action that is a coroutine)."""
        self.model = model
        self.states, self.final, self._events = _names(self.chart)
        if model.state is not None and (model.state not in self.states or model.state in self.final):
            raise Bug(f"the {self.kind} machine cannot begin in {self.at!r}: its states are {', '.join(self.states)}")
        _check_actions(self.chart, type(model))
        pool, attached = pool_of(self.chart, type(model)), list(listeners)
        self._driven: InstancePool | OwnInstance
        if pool is None or attached:
            self._driven = OwnInstance(self.chart(model, listeners=attached))
        else:
            self._driven = pool
            model.state = model.state or pool.table.initial
        if model.state is None:
            raise Bug(f"a listener of the {self.kind} machine is a coroutine: a machine awaits nothing")

    @property
    def kind(self) -> str:
        """The machine's name."""
        return self.chart.kind

    @property
    def at(self) -> str:
        """The state's name."""
        return str(self.model.state)

    @property
    def over(self) -> bool:
        """Whether it is in a final state."""
        return self.at in self.final

    def prepare(self) -> None:
        """Makes the instances that machines of this class share, which the first ones would make as they move."""
        if isinstance(self._driven, InstancePool):
            self._driven.fill(self.model)

    def add_listener(self, *listeners: object) -> None:
        """Adds listeners of python-statemachine to a machine that has begun."""
        if isinstance(self._driven, InstancePool):
            if not listeners:
                return
            self._driven = OwnInstance(self.chart(self.model))
        self._driven.chart.add_listener(*listeners)  # type: ignore[no-untyped-call]  # the library has no hint here

    def take(self, signal: Signal) -> Move:
        """Takes one event.

        Raises: Refused, with nothing changed, when this state does not know the event; and the errors of actions,
        validators and listeners.
        """
        before, event = self.at, str(signal.event)
        if event not in self._events or self.over:  # the library would match `go.x` with `go`, and be silent at the end
            raise Refused(self.kind, before, event)
        try:
            outcome = self._driven.send(self.model, event, signal.data)
        except TransitionNotAllowed:
            raise Refused(self.kind, before, event) from None
        if isinstance(outcome, Awaitable):
            raise Bug(f"a listener of the {self.kind} machine is a coroutine: a machine awaits nothing")
        return Move(before, event, self.at)


@cache
def _names(chart: type[Chart[Any]]) -> tuple[tuple[str, ...], frozenset[str], frozenset[str]]:
    """All states, the final ones among them, and the events. Raises: Bug."""
    states: tuple[State, ...] = tuple(chart.states)
    if nested := [state.id for state in states if state.parallel or state.states or state.history]:
        raise Bug(f"a state of the {chart.kind} machine has states inside, which are not supported: {nested[0]}")
    final = frozenset(str(state.value) for state in states if state.final)
    events: Any = chart.events  # a property of the metaclass, which its type hints take for a method
    return tuple(str(state.value) for state in states), final, frozenset(map(str, events))


@cache
def _check_actions(chart: type[Chart[Any]], model: type) -> None:
    """Raises: Bug, when an action or a condition is a coroutine."""
    for state in chart.states:
        groups = [state.enter, state.exit]
        for each in state.transitions:
            groups += [each.validators, each.cond, each.before, each.on, each.after]
        for name in {str(spec.func) for group in groups for spec in group}:
            if any(iscoroutinefunction(getattr(owner, name, None)) for owner in (chart, model)):
                raise Bug(f"{name} of the {chart.kind} machine is a coroutine: a machine awaits nothing")
