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

from taskrunner.errors import ConfigError
from taskrunner_standalone import StandaloneHost

PROGRAM = """
import asyncio, signal, sys
from taskrunner_standalone import StandaloneHost

def say(*words):
    print(*words, flush=True)

async def main():
    host = StandaloneHost()
    host.listen()
    say("listening", host.should_shutdown_now())
    {body}

asyncio.run(main())
"""

TWO_NOTICES = """
    for _ in range(2):
        leave = await host.shutting_down()
        say(leave.why, leave.immediate, host.should_shutdown_now())
    say("third?")
    await asyncio.Event().wait()
"""

CANCELLED_FIRST = """
    waiting = asyncio.create_task(host.shutting_down())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    say("cancelled")
    while not host.should_shutdown_now():
        await asyncio.sleep(0)
    say("noticed")
    leave = await host.shutting_down()
    say(leave.why, leave.immediate)
"""

GIVEN_BACK = """
    await host.shutting_down()
    before = signal.getsignal(signal.SIGTERM)
    await host.shut_down()
    await host.shut_down()
    say(before is not signal.SIG_DFL, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


@contextmanager
def program(body: str) -> Iterator[subprocess.Popen[str]]:
    """A process that listens, and has said so."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)], stdout=-1, stderr=-1, text=True
    ) as process:
        try:
            assert heard(process) == "listening False"
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().rstrip("\n")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_first_graceful_then_immediate_then_dead(first: signal.Signals, second: signal.Signals) -> None:
    with program(TWO_NOTICES) as process:
        process.send_signal(first)
        assert heard(process) == f"{first.name} False True"
        process.send_signal(second)
        assert heard(process) == f"{second.name} True True"
        assert heard(process) == "third?"
        process.send_signal(first)
        assert process.wait(60) == -first


def test_a_closed_terminal_is_immediate_however_often_it_says_so() -> None:
    with program(TWO_NOTICES.replace("range(2)", "range(3)")) as process:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
            assert heard(process) == f"{number.name} True True"
        assert heard(process) == "third?"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM


def test_nohup_goes_on() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with program(TWO_NOTICES) as process:
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            assert heard(process) == "SIGTERM False True"
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_notice_is_lost_while_nobody_waits() -> None:
    with program(CANCELLED_FIRST) as process:
        assert heard(process) == "cancelled"
        process.send_signal(signal.SIGTERM)
        assert heard(process) == "noticed"
        assert heard(process) == "SIGTERM False"
        assert process.wait(60) == 0


def test_signals_are_given_back() -> None:
    with program(GIVEN_BACK) as process:
        process.send_signal(signal.SIGTERM)
        assert heard(process) == "True True"
        assert process.wait(60) == 0


def test_it_says_who_it_is() -> None:
    identity = StandaloneHost().identity
    assert identity["host"] == platform.node()
    assert identity["os"] in {"linux", "darwin"}
    assert identity["arch"]


def test_its_configuration_is_the_file_s_and_the_flags(folder: Path) -> None:
    (folder / "other.toml").write_text("capacity = 2\nlease = 9")
    assert StandaloneHost(folder / "other.toml", {"capacity": 3}).load_config() == {"capacity": 3, "lease": 9}
    with pytest.raises(ConfigError, match="--capacity"):
        StandaloneHost(None, {"capacity": 0}).load_config()


def test_waiting_takes_the_signals_by_itself() -> None:
    async def main() -> None:
        host = StandaloneHost()
        waiting = asyncio.create_task(host.shutting_down())
        await asyncio.sleep(0)
        signal.raise_signal(signal.SIGTERM)
        assert (await waiting).why == "SIGTERM"
        await host.shut_down()

    asyncio.run(main())
