"""The base of both machines: the class of a declaration, and the values of events and moves.

Rule 1: a machine is pure. It has no clock, does no I/O, starts no thread and awaits nothing.
Rule 2: the declaration is the truth. An undeclared event is refused with an error that names machine, state and event.
Rule 3: events come in by `Machine.take`, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Generic, TypeVar

import attrs
from statemachine import State, StateChart
from statemachine.transition_list import TransitionList

from taskrunner.errors import Bug
from taskrunner.model import Move

M = TypeVar("M")

RESERVED = frozenset({
    "delay", "event", "event_data", "internal", "key", "machine", "model", "on_error", "self", "send_id", "source",
    "state", "target", "transition", "visitor_fn",
})  # fmt: skip
"""Names that python-statemachine uses itself: data of such a name would vanish, or break a call in the library."""


class Refused(Bug):
    """A machine was given an event that cannot happen in its state."""

    def __init__(self, machine: str, state: str, event: str) -> None:
        super().__init__(f"the {machine} machine cannot take {event!r} while {state}")
        self.machine, self.state, self.event = machine, state, event


@attrs.frozen
class Signal:
    """An event and its data: the result of a state's work, or an event from outside.

    Raises: Bug, when a key of `data` is reserved by python-statemachine.
    """

    event: StrEnum | str
    data: Mapping[str, Any] = attrs.field(factory=dict)
    """By the names of the action's parameters."""

    def __attrs_post_init__(self) -> None:
        if reserved := RESERVED & self.data.keys():
            raise Bug(f"data of {self.event!r} cannot be called {', '.join(sorted(reserved))}: the name is reserved")


class Chart(StateChart[M], Generic[M]):
    """The base of every declaration.

    python-statemachine's defaults swallow errors and unknown events; here all of them are raised. A chart with states
    has no subclass: its transitions would be added to the states of the parent. `table.declare` makes a chart from the
    table of another one.
    """

    allow_event_without_transition = False
    atomic_configuration_update = True
    catch_errors_as_events = False
    enable_self_transition_entries = False

    kind = "machine"
    """The machine's name in errors and pages."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if any(getattr(base, "states", ()) for base in cls.__bases__):
            raise Bug(f"{cls.__name__} cannot extend a chart that has states: use taskrunner.declare")


def stay(*states: State, cond: str | None = None, on: str | None = None) -> TransitionList:
    """Transitions of an event that is known in these states, and stays in them."""
    return TransitionList(t for state in states for t in state.to(state, internal=True, cond=cond, on=on))


__all__ = ["RESERVED", "Chart", "M", "Move", "Refused", "Signal", "stay"]
