"""Each malformed frame, and what it got. Frames that are read by hand here are sent by a real client in
`test_launcher_protocol`."""

from __future__ import annotations

import pytest

from taskrunner.errors import MalformedPayload
from taskrunner.queues.launcher.build_state import BuildError, BuildState
from taskrunner.queues.launcher.messages import (
    Abort,
    Close,
    Dispatch,
    Message,
    StateQuery,
    read_message,
    result_message,
    state_response,
)
from tests.support.launcher_frames import MALFORMED


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_frame_gets_a_complaint_that_names_the_key(name: str) -> None:
    frame, problem = MALFORMED[name]
    with pytest.raises(MalformedPayload) as caught:
        read_message(frame)
    assert str(caught.value).startswith(problem)
    assert "hunter2" not in str(caught.value), "no value of a frame is repeated"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ('{"type": "state-query", "buildId": "b"}', StateQuery("b")),
        ('{"type": "dispatch", "buildId": "b", "job": {}}', Dispatch("b", {})),
        ('{"type": "dispatch", "jobType": "jobRun", "jobRunId": "r", "buildId": "b", "job": {}}', Dispatch("r", {})),
        ('{"type": "dispatch", "buildId": "b", "job": {}, "projectId": "p", "initiatingUserId": "u", "metadata": {}}',
         Dispatch("b", {}, "p", "u")),
        ('{"type": "dispatch", "buildId": "b", "job": {}, "projectId": 1, "later": [], "metadata": null}',
         Dispatch("b", {})),
        ('{"type": "abort", "reason": "cancel"}', Abort("cancel")),
        ('{"type": "abort", "reason": "timeout"}', Abort("timeout")),
        ('{"type": "close"}', Close()),
        (' {"type":\n"close", "x": "é"} ', Close()),
    ],
)  # fmt: skip
def test_a_frame_is_read(frame: str, message: Message) -> None:
    assert read_message(frame) == message


NAMES = {"applicationArchiveName": None, "buildArtifactsName": None}
NEW = BuildState()
RUNNING = NEW.after("dispatch")


def test_the_keys_of_each_state_are_exact() -> None:
    """Absent optional keys are left out, never null; the two names are always there."""
    assert state_response(NEW) == {"type": "state-response", "status": "new"} | NAMES
    assert state_response(RUNNING) == {"type": "state-response", "status": "in-progress"} | NAMES
    done = RUNNING.after("succeed", application_archive="app.ipa")
    assert state_response(done) == {"type": "state-response", "status": "success"} | NAMES | {
        "applicationArchiveName": "app.ipa"
    }
    assert result_message(done) == {"type": "success"} | NAMES | {"applicationArchiveName": "app.ipa"}


def test_the_keys_of_an_error_are_exact() -> None:
    failed = RUNNING.after("fail", error=BuildError("UNKNOWN_ERROR", "exit code 1", "test"))
    error = {"errorCode": "UNKNOWN_ERROR", "message": "exit code 1", "buildPhase": "test"}
    assert result_message(failed) == {"type": "error", "externalBuildError": error} | NAMES
    broken = RUNNING.after("fail", error=BuildError("UNKNOWN_ERROR", "gone"), internal_error="WORKER_DIED")
    assert result_message(broken) == NAMES | {
        "type": "error",
        "externalBuildError": {"errorCode": "UNKNOWN_ERROR", "message": "gone"},
        "internalErrorCode": "WORKER_DIED",
    }


def test_the_keys_of_an_abort_are_exact() -> None:
    aborted = RUNNING.after("abort", abort_reason="timeout")
    assert result_message(aborted) == {"type": "aborted", "reason": "timeout"}
    assert state_response(aborted) == {"type": "state-response", "status": "aborted", "abortReason": "timeout"} | NAMES


@pytest.mark.parametrize("state", [RUNNING.after("succeed"), RUNNING.after("fail"), NEW.after("abort")])
def test_a_terminal_status_never_changes(state: BuildState) -> None:
    assert state.over
    for event in ("dispatch", "succeed", "fail", "abort"):
        assert state.after(event) is state


def test_events_that_are_no_transition_change_nothing() -> None:
    assert NEW.after("succeed") is NEW
    assert NEW.after("fail") is NEW
    assert RUNNING.after("dispatch") is RUNNING
