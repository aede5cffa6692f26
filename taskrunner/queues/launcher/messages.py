"""The messages of the protocol: text frames of JSON objects. An optional key that is absent is left out, never null."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.queues.launcher.build_state import AbortReason, BuildState

REASONS: tuple[AbortReason, ...] = ("cancel", "timeout")

Json: TypeAlias = Any
"""What a frame holds. It is checked where it is used."""


@attrs.frozen
class StateQuery:
    build_id: str


@attrs.frozen
class Dispatch:
    build_id: str
    job: Mapping[str, Json] = attrs.field(repr=False)
    project_id: str = ""
    user_id: str = ""
    """Of who has started the build."""


@attrs.frozen
class Abort:
    reason: AbortReason


@attrs.frozen
class Close:
    """The machine is not needed any more."""


Message = StateQuery | Dispatch | Abort | Close


def read_message(frame: str | bytes) -> Message:
    """The message of a frame. Keys that are not known are ignored: launchers are newer than their workers.

    Raises: MalformedPayload, whose text repeats no value of the frame.
    """
    message = _object(frame)
    kind = message.get("type")
    match kind:
        case "state-query":
            return StateQuery(_text(message, "buildId"))
        case "dispatch":
            return _dispatch(message)
        case "abort":
            return Abort(_reason(message))
        case "close":
            return Close()
        case None:
            raise _malformed("type", "is missing", _KINDS)
        case _:
            raise _malformed("type", "is not known", _KINDS)


_KINDS = "write state-query, dispatch, abort or close"


def _object(frame: str | bytes) -> Mapping[str, Json]:
    if isinstance(frame, bytes):
        raise _malformed("", "a binary frame", "send text")
    try:
        message = json.loads(frame, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _malformed("", "no JSON", "send an object") from None
    if not isinstance(message, dict):
        raise _malformed("", "no JSON object", "send an object")
    return message


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _dispatch(message: Mapping[str, Json]) -> Dispatch:
    job = message.get("job")
    build_id = _text(message, "jobRunId" if message.get("jobType") == "jobRun" else "buildId")
    if not isinstance(job, dict):
        raise _malformed("job", "is no object", "send the job")
    return Dispatch(build_id, job, _optional(message, "projectId"), _optional(message, "initiatingUserId"))


def _reason(message: Mapping[str, Json]) -> AbortReason:
    for reason in REASONS:
        if message.get("reason") == reason:
            return reason
    raise _malformed("reason", "is not known", f"write {' or '.join(REASONS)}")


def _text(message: Mapping[str, Json], key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str) or not value:
        raise _malformed(key, "is no text", "write the id of the build")
    return value


def _optional(message: Mapping[str, Json], key: str) -> str:
    """Only shown to people."""
    value = message.get(key)
    return value if isinstance(value, str) else ""


def _malformed(path: str, problem: str, fix: str) -> MalformedPayload:
    return MalformedPayload(Complaint(path, problem, fix))


# ---- from the worker --------------------------------------------------------------------------------------


def state_response(state: BuildState) -> dict[str, Json]:
    abort = {"abortReason": state.abort_reason} if state.abort_reason else {}
    return {"type": "state-response", "status": state.status} | _artifacts(state) | _errors(state) | abort


def result_message(state: BuildState) -> dict[str, Json]:
    """How a build has ended."""
    if state.status == "aborted":
        return {"type": "aborted"} | ({"reason": state.abort_reason} if state.abort_reason else {})
    return {"type": state.status} | _artifacts(state) | _errors(state)


def _artifacts(state: BuildState) -> dict[str, Json]:
    return {"applicationArchiveName": state.application_archive, "buildArtifactsName": state.build_artifacts}


def _errors(state: BuildState) -> dict[str, Json]:
    keys: dict[str, Json] = {}
    if state.error:
        phase = {"buildPhase": state.error.phase} if state.error.phase else {}
        keys["externalBuildError"] = {"errorCode": state.error.code, "message": state.error.message} | phase
    if state.internal_error:
        keys["internalErrorCode"] = state.internal_error
    return keys
