"""Why a claim is lost: the queue says no more than a status of HTTP, so its status of the task is asked."""

from __future__ import annotations

import attrs

from taskrunner.errors import ClaimLost, Lost, Unavailable
from taskrunner.model import RunKey
from taskrunner.queues.taskcluster.service.answers import states_of
from taskrunner.queues.taskcluster.service.client import CallRefused, TaskclusterServices

_BY_REASON: dict[str, Lost] = {"canceled": "canceled", "deadline-exceeded": "deadline", "claim-expired": "expired"}

_BY_STATUS: dict[int, Lost] = {401: "expired", 403: "superseded", 404: "resolved"}
"""401: the credentials of a claim end with it. 403: those of another claim. Otherwise 409: not running any more."""

FINAL = frozenset({401, 403, 404, 409})
"""Refusals that say that a run is not ours."""


@attrs.frozen
class RunState:
    """One run, as the queue knows it; all empty when it does not answer."""

    state: str = ""
    reason: str = ""
    superseded: bool = False
    """Whether a later run has begun."""


async def run_state(services: TaskclusterServices, run: RunKey) -> RunState:
    """Best effort: raises nothing, since a loss is one whatever its reason."""
    try:
        states = list(states_of(await services.queue(services.own, "status", run.task_id)))
    except (CallRefused, Unavailable):
        return RunState()
    if run.run_id >= len(states):
        return RunState()
    return RunState(*states[run.run_id], superseded=len(states) > run.run_id + 1)


def loss(refused: CallRefused, found: RunState) -> ClaimLost:
    """The error for a call about a claim that the queue has refused."""
    return ClaimLost(_why(refused, found), refused.message if found.reason != "canceled" else "")


def _why(refused: CallRefused, found: RunState) -> Lost:
    if found.state == "exception" and found.reason in _BY_REASON:
        return _BY_REASON[found.reason]
    if found.superseded:
        return "superseded"
    return _BY_STATUS.get(refused.status, "resolved")
