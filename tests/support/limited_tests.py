"""A limit for each test with its fixtures, wherever it waits: a run that nobody watches must end.

A plugin of pytest. Tests that need less have limits of their own, which say what did not happen. A test that goes on
after it was interrupted ends its process, with the stacks of all threads: otherwise one test could use up CI's time.
"""

from __future__ import annotations

import faulthandler
import itertools
import os
import signal
from collections.abc import Generator
from types import FrameType
from typing import Never

import pytest

LIMIT = 300.0
"""Seconds: three times what the slowest test takes on two busy cores."""

AGAIN = 30.0
"""Seconds until what the test does at its end is interrupted too."""

ENDS = 3
"""Interruptions after which the process ends."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    interruptions = itertools.count(1)
    marker = item.get_closest_marker("limit")
    limit = marker.args[0] if marker else LIMIT

    def end(_number: int, _frame: FrameType | None) -> Never:
        if next(interruptions) >= ENDS:
            _end_process(item)
        pytest.fail(f"the test did not end within {limit:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})  # a mask is inherited from whoever started the tests
    signal.setitimer(signal.ITIMER_REAL, limit, AGAIN)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _end_process(item: pytest.Item) -> Never:
    if capture := item.config.pluginmanager.getplugin("capturemanager"):
        capture.suspend_global_capture(in_=True)  # what is captured would be lost
    os.write(2, f"\n{item.nodeid} did not end, and goes on after {ENDS} interruptions\n".encode())
    faulthandler.dump_traceback(file=2, all_threads=True)
    os._exit(3)
