"""How a run ended, in the words of the protocol."""

from __future__ import annotations

from taskrunner.errors import MalformedPayload
from taskrunner.model import Resolution
from taskrunner.queues.launcher.build_state import BuildError, BuildState

UNKNOWN = "UNKNOWN_ERROR"
"""The code of an error that the protocol has no better word for."""

COMMAND_FAILED = frozenset({"", "step-failed", "exit-code"})
"""Reasons that say no more than that a command has failed."""

MALFORMED = "malformed-payload"


def error_code(reason: str) -> str:
    """`max-run-time` as `MAX_RUN_TIME`."""
    return UNKNOWN if reason in COMMAND_FAILED else reason.replace("-", "_").upper()


def ended(state: BuildState, resolution: Resolution, phase: str) -> BuildState:
    """The state after the end of the run. `phase` is the one in which it failed."""
    if resolution.kind == "completed":
        return state.after("succeed")
    owners = resolution.kind == "failed" or resolution.reason == MALFORMED
    code = error_code(resolution.reason)
    error = BuildError(code if owners else UNKNOWN, resolution.message, phase)
    return state.after("fail", error=error, internal_error="" if owners else code)


def malformed(state: BuildState, error: MalformedPayload) -> BuildState:
    """The job cannot be run by any worker."""
    return state.after("fail", error=BuildError(error_code(MALFORMED), str(error)))


def lost(state: BuildState, reason: str, message: str) -> BuildState:
    """This worker cannot run the job, or has lost it."""
    return state.after("fail", error=BuildError(UNKNOWN, message), internal_error=error_code(reason))
