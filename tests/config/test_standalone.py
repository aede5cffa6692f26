"""The standalone host: real signals to a real process."""

from __future__ import annotations

import asyncio
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskrunner import NoOptions, PluginContext
from taskrunner.blocking import DaemonExecutor
from taskrunner_standalone import StandaloneHost

PROGRAM = """
import asyncio, signal, sys
from taskrunner_standalone import StandaloneHost

def report(*words):
    print(*words, flush=True)

async def main():
    host = StandaloneHost()
    host.listen()
    report("listening", host.should_shutdown_now())
    {body}

asyncio.run(main())
"""

TWO_NOTICES = """
    for _ in range(2):
        leave = await host.shutting_down()
        report(leave.why, leave.immediate, host.should_shutdown_now())
    report("third?")
    await asyncio.Event().wait()
"""

READER = DaemonExecutor("reader")
"""Reads lines, so that a program that prints none keeps no test from ending."""

CANCELLED_FIRST = """
    waiting = asyncio.create_task(host.shutting_down())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    report("cancelled")
    while not host.should_shutdown_now():
        await asyncio.sleep(0)
    report("noticed")
    leave = await host.shutting_down()
    report(leave.why, leave.immediate)
"""

RESTORED = """
    await host.shutting_down()
    before = signal.getsignal(signal.SIGTERM)
    await host.shut_down()
    await host.shut_down()
    report(before is not signal.SIG_DFL, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


@contextmanager
def program(body: str) -> Iterator[subprocess.Popen[str]]:
    """A process that handles signals already."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)], stdout=-1, stderr=-1, text=True
    ) as process:
        try:
            assert next_line(process) == "listening False"
            yield process
        finally:
            process.kill()


@contextmanager
def hang_up(handler: signal.Handlers) -> Iterator[None]:
    """Child processes inherit whether the signal is ignored, and so do these tests when they run under nohup."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return READER.submit(process.stdout.readline).result(60).rstrip("\n")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_graceful_the_second_immediate_and_the_third_kills(
    first: signal.Signals, second: signal.Signals
) -> None:
    with program(TWO_NOTICES) as process:
        process.send_signal(first)
        assert next_line(process) == f"{first.name} False True"
        process.send_signal(second)
        assert next_line(process) == f"{second.name} True True"
        assert next_line(process) == "third?"
        process.send_signal(first)
        assert process.wait(60) == -first


def test_a_closed_terminal_is_immediate_each_time() -> None:
    with hang_up(signal.SIG_DFL), program(TWO_NOTICES.replace("range(2)", "range(3)")) as process:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
            assert next_line(process) == f"{number.name} True True"
        assert next_line(process) == "third?"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM


def test_under_nohup_a_closed_terminal_is_ignored() -> None:
    with hang_up(signal.SIG_IGN), program(TWO_NOTICES) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert next_line(process) == "SIGTERM False True"


def test_a_notice_before_it_is_waited_for_is_kept() -> None:
    with program(CANCELLED_FIRST) as process:
        assert next_line(process) == "cancelled"
        process.send_signal(signal.SIGTERM)
        assert next_line(process) == "noticed"
        assert next_line(process) == "SIGTERM False"
        assert process.wait(60) == 0


def test_the_handlers_are_restored() -> None:
    with program(RESTORED) as process:
        process.send_signal(signal.SIGTERM)
        assert next_line(process) == "True True"
        assert process.wait(60) == 0


def test_its_identity_has_host_system_and_processor() -> None:
    identity = StandaloneHost().identity
    assert identity["host"] == platform.node()
    assert identity["os"] in {"linux", "darwin"}
    assert identity["arch"]


def test_it_adds_nothing_to_the_configuration(tmp_path: Path) -> None:
    context = PluginContext("", tmp_path, lambda secret: secret.literal)
    assert asyncio.run(StandaloneHost.open(NoOptions(), context)).load_config() == {}


def test_waiting_installs_the_handlers() -> None:
    async def main() -> None:
        host = StandaloneHost()
        waiting = asyncio.create_task(host.shutting_down())
        await asyncio.sleep(0)
        signal.raise_signal(signal.SIGTERM)
        assert (await waiting).why == "SIGTERM"
        await host.shut_down()

    asyncio.run(main())
