"""The states of one invocation, as its caller sees them.

::

    pending   ── run ────▶ running
    running   ── finish ─▶ finishing      the work is done, artifacts are being sent
    finishing ── succeed ▶ succeeded
    running   ── fail ───▶ failed         the command has failed
    pending, running            ── reject ▶ rejected    this agent cannot do it now: the caller tries elsewhere or later
    pending, running, finishing ── throw ─▶ broken      the agent could not complete it

A state is sent at every transition. Nothing else is a transition.
"""

from __future__ import annotations

from typing import Literal

from taskrunner.errors import Bug
from taskrunner.queues.agent.messages import State

Event = Literal["run", "finish", "succeed", "fail", "reject", "throw"]

TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.PENDING, "run"): State.RUNNING,
    (State.RUNNING, "finish"): State.FINISHING,
    (State.FINISHING, "succeed"): State.SUCCEEDED,
    (State.RUNNING, "fail"): State.FAILED,
    (State.PENDING, "reject"): State.REJECTED,
    (State.RUNNING, "reject"): State.REJECTED,
    (State.PENDING, "throw"): State.BROKEN,
    (State.RUNNING, "throw"): State.BROKEN,
    (State.FINISHING, "throw"): State.BROKEN,
}


ONWARD: dict[State, Event] = {State.PENDING: "run", State.RUNNING: "finish"}
"""The event that leads on, in an invocation without an incident."""


def events_to(state: State, event: Event) -> list[Event]:
    """The events that end with this one: each state on the way is sent as well. Raises: Bug."""
    events: list[Event] = []
    while (state, event) not in TRANSITIONS:
        if state not in ONWARD:
            raise Bug(f"an invocation that is {state.name} has no event {event}")
        events.append(ONWARD[state])
        state = TRANSITIONS[state, ONWARD[state]]
    return [*events, event]
