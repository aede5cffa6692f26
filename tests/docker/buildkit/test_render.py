"""The log of a build, from messages as the daemon sends them."""

from __future__ import annotations

import pytest

from taskrunner.testing import MemoryLog
from taskrunner_docker.buildkit.render import MAX_LINE, BuildLog
from taskrunner_docker.buildkit.steps import MAX_STEPS, Steps
from taskrunner_docker.buildkit.trace import Trace, Vertex, VertexLog, VertexStatus, VertexWarning

SECRET = "hunter2-and-more-of-it"


def log_of(*traces: Trace) -> list[bytes]:
    written = MemoryLog()
    written.mask(SECRET)
    log = BuildLog(Steps(), written)
    for trace in traces:
        log.feed(trace)
    log.finish()
    return written.data.splitlines()


def started(digest: str, name: str) -> Trace:
    return Trace(vertexes=(Vertex(digest, name, started=100.0),))


def printed(digest: str, data: bytes, time: float = 100.25, stream: int = 1) -> Trace:
    return Trace(outputs=(VertexLog(digest, time, stream, data),))


A = started("a", "[1/2] RUN a")
B = started("b", "[2/2] RUN b")


def test_lines_are_joined_for_each_stream_and_stamped_where_they_begin() -> None:
    lines = log_of(A, printed("a", b"hel"), printed("a", b"oops\n", stream=2), printed("a", b"lo\r\n\xff", time=101))
    assert lines[1:] == [b"#1 0.250 oops", b"#1 0.250 hello", b"#1 1.000 \xff"]


def test_a_line_of_another_step_names_it_first() -> None:
    lines = log_of(A, B, printed("a", b"x\n"), printed("a", b"y\n"))
    assert lines == [
        b"#1 [1/2] RUN a",
        b"",
        b"#2 [2/2] RUN b",
        b"",
        b"#1 [1/2] RUN a",
        b"#1 0.250 x",
        b"#1 0.250 y",
    ]


def test_line_that_never_ends_is_broken() -> None:
    piece = b"x" * 1000
    lines = log_of(A, *[printed("a", piece) for _ in range(200)])
    assert max(map(len, lines)) <= MAX_LINE + len(piece)
    assert sum(line.count(b"x") for line in lines) == 200_000


def test_a_secret_is_masked_where_a_line_is_broken_and_where_a_step_ends() -> None:
    filling = b"x" * (MAX_LINE - 10)
    middle = log_of(A, printed("a", filling + SECRET.encode()[:9]), printed("a", SECRET.encode()[9:] + b"\n"))
    assert b"hunter" not in b"".join(middle)
    assert sum(line.count(b"x") for line in middle) == len(filling)
    done = Trace(vertexes=(Vertex("a", "", started=100.0, completed=101.5),))
    cut = log_of(A, printed("a", SECRET.encode()[:9]), done)
    assert cut[-2:] == [b"#1 0.250 " + SECRET.encode()[:9], b"#1 DONE 1.5s"]
    key = f"-----BEGIN\n{SECRET}\nEND"
    assert log_of(A, printed("a", key.encode()))[1:] == [b"#1 0.250 -----BEGIN", b"#1 0.250 ***", b"#1 0.250 END"]


def test_endings() -> None:
    def done(digest: str, **more: object) -> Trace:
        return Trace(vertexes=(Vertex(digest, "", started=100.0, completed=101.5, **more),))

    assert log_of(A, done("a"))[-1] == b"#1 DONE 1.5s"
    assert log_of(A, done("a"), done("a"))[-2:] == [b"#1 [1/2] RUN a", b"#1 DONE 1.5s"]
    assert log_of(A, done("a", cached=True))[-1] == b"#1 CACHED"
    assert log_of(A, done("a", error="exit\ncode: 2"))[-1] == b"#1 ERROR: exit code: 2"
    assert log_of(A, done("a", error="x: context canceled"))[-1] == b"#1 CANCELED"
    assert log_of(A, printed("a", b"rest"), done("a"))[-2:] == [b"#1 0.250 rest", b"#1 DONE 1.5s"]


def test_parts_and_warnings() -> None:
    layer = VertexStatus("sha256:1", "a", current=3_250_000, total=3_250_000, completed=101.0)
    lines = log_of(A, Trace(statuses=(layer, layer)), Trace(warnings=(VertexWarning("a", "old syntax", "https://x"),)))
    assert lines[1:] == [b"#1 sha256:1 3.2 MB done", b"#1 WARNING: old syntax (https://x)"]


@pytest.mark.parametrize(("limit", "variable"), [("2MiB", "MAX_SIZE"), ("200KiB/s", "MAX_SPEED")])
def test_what_docker_clips_is_explained_once(limit: str, variable: str) -> None:
    mark = f"x\n[output clipped, log limit {limit} reached]\n".encode()
    lines = log_of(A, printed("a", mark[:9]), printed("a", mark[9:]), printed("a", b"y\n"))
    assert [line for line in lines if b"WARNING" in line] == [lines[3]]
    assert f"BUILDKIT_STEP_LOG_{variable}=-1".encode() in lines[3]


def test_messages_of_unknown_steps_are_left_out() -> None:
    stray = Trace(statuses=(VertexStatus("x", "?", completed=1.0),), warnings=(VertexWarning("?", "x"),))
    assert log_of(printed("?", b"x\n"), stray) == []


def test_steps_beyond_the_limit_are_not_kept() -> None:
    steps = Steps()
    for number in range(MAX_STEPS + 10):
        steps.update(Vertex(str(number), "x"))
    assert steps.progress().total == MAX_STEPS


def test_first_step_that_failed_by_itself_is_the_one() -> None:
    steps = Steps()
    steps.update(Vertex("a", "victim", started=1.0, error="context canceled"))
    steps.update(Vertex("b", "culprit", started=1.0, error="exit code: 1"))
    failed = steps.failed()
    assert failed is not None
    assert failed.name == "culprit"
