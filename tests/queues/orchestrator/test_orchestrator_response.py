"""What a response says: the step that failed, and the end of the log."""

from __future__ import annotations

import pytest

from taskrunner.model import Progress, Resolution, exception, failed
from taskrunner.queues.orchestrator.log_tail import LIMIT, LONGEST_LINE, MARK, LogTail
from taskrunner.queues.orchestrator.messages import JobResponse
from taskrunner.queues.orchestrator.peer import LONGEST_ERROR
from taskrunner.queues.orchestrator.request import MAX_JOB_ID
from taskrunner.queues.orchestrator.steps import StepWatch

LOGIN, LOGGED_IN = Progress("login", 0, 1), Progress("login", 1, 1)
DOWN = exception("resource-unavailable", "down")


@pytest.mark.parametrize(
    ("seen", "ending", "error"),
    [
        ([], exception("malformed-payload", "source.ref: x"), "Failed to clone the repo: source.ref: x"),
        ([], exception("malformed-payload", "build.tags[0]: x"), "Failed to build Docker image: build.tags[0]: x"),
        (["loading"], failed("clone-failed", "clone: no"), "Failed to clone the repo: no"),
        (["loading"], DOWN, "Failed to clone the repo: down"),
        (["loading"], failed("max-run-time", "slow"), "Failed to clone the repo: slow"),
        (["loading", "running"], failed("build-failed", "RUN"), "Failed to build Docker image: RUN"),
        (["running"], failed("max-run-time", "slow"), "Failed to build Docker image: slow"),
        (["running", "uploading"], failed("build-failed", "RUN"), "Failed to build Docker image: RUN"),
        (["running", "uploading"], failed("login-failed", "keys"), "Failed to authenticate Docker with AWS: keys"),
        (["running", "uploading", LOGIN], DOWN, "Failed to authenticate Docker with AWS: down"),
        (["running", "uploading", LOGIN, LOGGED_IN], DOWN, "Failed to push Docker image: down"),
        (["running", "uploading"], DOWN, "Failed to push Docker image: down"),
        (["uploading", "cleanup"], failed("push-failed", "403"), "Failed to push Docker image: 403"),
        (["loading"], exception("worker-shutdown", "SIGTERM"), "Execution cancelled"),
        (["running"], exception("canceled", "by hand"), "Execution cancelled"),
    ],
)
def test_the_error_names_the_step(seen: list[str | Progress], ending: Resolution, error: str) -> None:
    steps = StepWatch()
    for each in seen:
        steps.progress(each) if isinstance(each, Progress) else steps.moved(each, None)
    assert steps.error(ending) == error


def test_a_build_that_has_failed_is_no_push_on_its_way_to_the_end() -> None:
    steps, ending = StepWatch(), failed("exit-code", "3")
    steps.moved("running", None)
    for state in ("uploading", "cleanup"):
        steps.moved(state, ending)
    assert steps.error(ending) == "Failed to build Docker image: 3"


def test_a_login_at_another_registry_is_no_matter_of_aws() -> None:
    steps = StepWatch()
    steps.aws = False
    assert steps.error(failed("login-failed", "401")) == "Failed to push Docker image: 401"


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ([b"a\n", b"b\n"], "a\nb\n"),
        ([b"\xc3", b"\xa4"], "ä"),
        ([b"\xff"], "\N{REPLACEMENT CHARACTER}"),
        ([b"0123456789\n"] * 20, MARK + "0123456789\n" * 4),
        ([b"x" * 2000], MARK + "x" * 51),
        ([b"\xff" * 60], MARK + "\N{REPLACEMENT CHARACTER}" * 17),
    ],
)
def test_the_end_of_a_log_is_cut_at_a_line(chunks: list[bytes], text: str) -> None:
    tail = LogTail(len(MARK) + 51)
    for chunk in chunks:
        tail.add(chunk)
    assert tail.text() == text
    assert len(text.encode()) <= len(MARK) + 51


def test_a_line_that_is_too_long_to_leave_out_stays() -> None:
    tail = LogTail(LONGEST_LINE * 2)
    tail.add(b"x" * LONGEST_LINE * 3 + b"\nend")
    assert tail.text().startswith(MARK + "x")


def test_the_longest_response_is_a_message_that_every_client_takes() -> None:
    """gRPC's default is 4 MiB, framing excluded."""
    tail = LogTail()
    for _ in range(3):
        tail.add(b"\xff" * LIMIT)
    longest = JobResponse(jobId="ä" * MAX_JOB_ID, logs=tail.text(), error="\U0001f600" * LONGEST_ERROR)
    assert LIMIT < longest.ByteSize() <= 4 << 20
