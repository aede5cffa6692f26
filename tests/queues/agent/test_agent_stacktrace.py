"""The stack trace of an error, as it is found in the log of its run."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from taskrunner.interfaces.log import LogOrigin
from taskrunner.queues.agent.stacktrace import LONGEST_LINE, MOST_LINES, Stacktrace

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WORKER = LogOrigin("worker", NOW)


def lines(text: str) -> bytes:
    return b"".join(f"[taskrunner] {line}\n".encode() for line in text.splitlines())


def found(text: str, size: int = 1 << 20, after: str = "exception (internal-error) after 0.1 s: it broke") -> str:
    trace, data = Stacktrace(), lines(f"a line before\n{text}\n{after}\n  and more")
    for begin in range(0, len(data), size):
        trace.add(data[begin : begin + size], WORKER)
    return trace.text


def trace_of(fail: Callable[[], None]) -> str:
    try:
        fail()
    except Exception as error:  # noqa: BLE001  any
        return "".join(traceback.format_exception(error)).rstrip()
    raise AssertionError


def plain() -> None:
    raise ValueError("no")


def caused() -> None:
    try:
        plain()
    except ValueError as error:
        raise RuntimeError("worse") from error


def during() -> None:
    try:
        caused()
    except RuntimeError:
        {}["key"]


def group() -> None:
    raise ExceptionGroup("two", [ValueError("no"), KeyError("key")])


@pytest.mark.parametrize("fail", [plain, caused, during, group])
@pytest.mark.parametrize("size", [1 << 20, 1, 7])
def test_the_first_traceback_is_whole_however_it_is_cut(fail: Callable[[], None], size: int) -> None:
    trace = trace_of(fail)
    assert found(trace, size) == "\n".join(line.rstrip() for line in trace.splitlines())


def test_a_second_one_is_another_error() -> None:
    assert found(trace_of(plain), after=f"left behind: a file\n{trace_of(caused)}") == trace_of(plain)


def test_what_a_command_prints_is_no_trace() -> None:
    trace = Stacktrace()
    for origin in (LogOrigin("stderr", NOW), LogOrigin("both", NOW), None):
        trace.add(lines(trace_of(plain)), origin)
    trace.add(lines("no traceback\n  here"), WORKER)
    assert trace.text == ""


def test_a_long_one_keeps_its_end() -> None:
    frames = "\n".join(f'  File "{"x" * 2000}", line {number}' for number in range(1000))
    trace = found(f"Traceback (most recent call last):\n{frames}\nRuntimeError: deep")
    assert trace.endswith("\nRuntimeError: deep")
    assert len(trace) <= MOST_LINES * (LONGEST_LINE + 1)
