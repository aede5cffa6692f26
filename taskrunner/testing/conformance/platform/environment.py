"""What a run gets from its worker: variables and a standard input, and no others."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from taskrunner.errors import NotSupported
from taskrunner.testing.conformance.platform.harness import (
    WORKERS_OWN,
    PlatformHarness,
    PlatformKit,
    scenario,
    write_on,
)
from taskrunner.testing.conformance.platform.script import Script

VARIABLES = {"GREETING": "hello, 'you' $HOME \"\\", "LINES": "one\ntwo", "EMPTY": "", "WORD": "gr\u00fcn=1"}

KEYS = "\x03\x04\x10\x11\x1a\r\n"
"""What a terminal would make something else of: Ctrl-C, Ctrl-D, the keys by which Docker detaches, Ctrl-Z."""

LINES = 10_000


class EnvironmentChecks(PlatformKit):
    """Variables, secrets among them, and the standard input."""

    @scenario
    async def test_the_environment_reaches_the_run(self, harness: PlatformHarness) -> None:
        trial = await harness.finished(Script(print_env=tuple(VARIABLES)), VARIABLES)
        for name, value in VARIABLES.items():
            assert f"{name}={value}\n" in trial.log.text

    @scenario
    async def test_a_run_does_not_see_the_environment_of_another(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(print_env=("MINE",), prints="up\n", sleeps=True), {"MINE": "a secret"})
        await trial.log.until("up")
        other = await harness.finished(Script(print_env=("MINE",)))
        assert "MINE" not in other.log.text

    @scenario
    async def test_without_an_input_the_standard_input_is_empty(self, harness: PlatformHarness) -> None:
        with _standard_input(b"for the worker"):
            trial = await harness.started(Script(print_stdin=True))
        with pytest.raises(NotSupported):
            _ = trial.execution.stdin
        assert (await trial.wait()).exit_code == 0
        assert "for the worker" not in trial.log.text

    @scenario
    async def test_an_input_stays_open_until_it_is_closed(self, harness: PlatformHarness) -> None:
        trial = harness.trial()
        assert harness.platform.takes_stdin is ("stdin" in self.supports), "what the class says, a task is judged by"
        await trial.load(Script(print_stdin=True))
        if "stdin" not in self.supports:
            with pytest.raises(NotSupported):
                await trial.start({}, stdin=True)
            return
        stdin = (await trial.start({}, stdin=True)).stdin
        await stdin.write(b"first, ")
        await stdin.write(b"second\n")
        await trial.log.until("first, second")
        await stdin.close()
        await stdin.close()
        assert (await trial.wait()).exit_code == 0
        with pytest.raises(BrokenPipeError):
            await stdin.write(b"no reader")

    @scenario
    async def test_an_input_that_is_open_does_not_hold_up_the_end(self, harness: PlatformHarness) -> None:
        if "stdin" not in self.supports:
            return
        trial = await harness.started(Script(prints="up\n", exit_code=7), stdin=True)
        stdin = trial.execution.stdin
        assert (await trial.wait()).exit_code == 7
        with pytest.raises(BrokenPipeError):
            await write_on(stdin)

    @scenario
    async def test_a_kill_frees_who_writes_to_the_input(self, harness: PlatformHarness) -> None:
        if "stdin" not in self.supports:
            return
        trial = await harness.started(Script(prints="up\n", sleeps=True), stdin=True)
        stdin = trial.execution.stdin
        writing = asyncio.create_task(write_on(stdin))
        await trial.log.until("up")
        await trial.kill()
        await asyncio.gather(writing, return_exceptions=True)
        with pytest.raises(BrokenPipeError):
            await write_on(stdin)

    @scenario
    async def test_an_input_reaches_the_command_as_it_is(self, harness: PlatformHarness) -> None:
        if "stdin" not in self.supports:
            return
        trial = await harness.started(Script(print_stdin=True), stdin=True)
        data = f"{KEYS}{'more than a pipe holds ' * LINES}\n"
        await trial.execution.stdin.write(data.encode())
        await trial.execution.stdin.close()
        await trial.wait()
        assert data in trial.log.text

    @scenario
    async def test_a_run_does_not_see_the_environment_of_the_worker(self, harness: PlatformHarness) -> None:
        trial = await harness.finished(Script(print_env=(WORKERS_OWN,)))
        assert WORKERS_OWN not in trial.log.text

    @scenario
    async def test_no_command_line_shows_a_secret(self, harness: PlatformHarness) -> None:
        """Of any process of this machine, since every user can read them all."""
        secret = secrets.token_hex(16)
        trial = await harness.started(Script(prints="up\n", sleeps=True), {"PASSWORD": secret})
        await trial.log.until("up")
        assert [line for line in command_lines() if secret in line] == []
        with suppress(NotSupported):
            await trial.execution.new_exec(["cat"], env={"TOKEN": secret})
            assert [line for line in command_lines() if secret in line] == []
        assert secret not in trial.log.text
        assert secret not in trial.execution.handle


def command_lines() -> list[str]:
    """Of all processes that this one sees."""
    return [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]


@contextmanager
def _standard_input(data: bytes) -> Iterator[None]:
    """Gives this process another standard input, which ends after the data."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    before = os.dup(0)
    os.dup2(reading, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(reading)


__all__ = ["EnvironmentChecks", "command_lines"]
