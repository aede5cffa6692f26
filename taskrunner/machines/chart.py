"""What both machines share: how a chart is declared, and the values that go in and come out.

Rule 1: a machine is pure. It has no clock, does no I/O, starts no thread and awaits nothing.
Rule 2: the declaration is the truth. What is not declared is refused with an error that names machine, state and event.
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

M = TypeVar("M")


class Refused(Bug):
    """A machine was told something that cannot happen in its state."""

    def __init__(self, machine: str, state: str, event: str) -> None:
        super().__init__(f"the {machine} machine cannot take {event!r} while {state}")
        self.machine, self.state, self.event = machine, state, event


@attrs.frozen
class Signal:
    """An event and what is known about it: what the work of a state ends with, or what comes from outside."""

    event: StrEnum
    data: Mapping[str, Any] = attrs.field(factory=dict)
    """By the names of the action's parameters; never `delay`, `state`, `event`, `source` or `target`, which
    python-statemachine keeps for itself."""


@attrs.frozen
class Move:
    """What an event did."""

    source: str
    event: str
    target: str

    @property
    def moved(self) -> bool:
        return self.source != self.target


class Chart(StateChart[M], Generic[M]):
    """The base of both declarations.

    python-statemachine's defaults swallow errors and unknown events; here all of them come out.
    """

    allow_event_without_transition = False
    atomic_configuration_update = True
    catch_errors_as_events = False
    enable_self_transition_entries = False

    kind = "machine"
    """The machine's name in errors and pages."""


def stay(*states: State, on: str | None = None) -> TransitionList:
    """In these states the event is known, and moves nothing."""
    return TransitionList(t for state in states for t in state.to(state, internal=True, on=on))
