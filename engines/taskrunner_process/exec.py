"""ProcessExec: one more command beside the main one, with pipes or a terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Mapping, Sequence

import attrs

from taskrunner.errors import NotSupported
from taskrunner.interfaces.execution import Exec, Input, Size
from taskrunner_process.child import Child, Start
from taskrunner_process.command import find_command
from taskrunner_process.groups.process_group import ProcessGroup
from taskrunner_process.launcher import Launcher
from taskrunner_process.pipes import PipeInput, PipeOutput, TerminalInput

TERM = "xterm-256color"
"""The most common one; for a command with a terminal, when the run's environment names none."""

FOR_GROUP = 0o660
"""The mode of what the account has only by its group, such as a terminal."""


@attrs.frozen
class Ends:
    """The descriptors of a command: the worker's ends, and the three that the command gets."""

    stdin: int
    stdout: int
    stderr: int | None
    given: tuple[int, int, int]
    terminal: str = ""

    def close(self) -> None:
        for number in (self.stdin, self.stdout, self.stderr):
            if number is not None:
                os.close(number)


class ProcessExec(Exec):
    """It has a group of its own: `abort` ends all of it and nothing else. The execution ends it with the rest."""

    def __init__(self, launcher: Launcher, child: Child, group: ProcessGroup, ends: Ends) -> None:
        self._launcher, self._child, self.group = launcher, child, group
        self._terminal = bool(ends.terminal)
        self._stdin = TerminalInput(ends.stdin) if self._terminal else PipeInput(ends.stdin)
        self._stdout = PipeOutput(ends.stdout)
        self._stderr = None if ends.stderr is None else PipeOutput(ends.stderr)

    @classmethod
    async def start(
        cls,
        launcher: Launcher,
        command: Sequence[str],
        number: int,
        *,
        tty: Size | None,
        env: Mapping[str, str],
        cwd: str,
    ) -> ProcessExec:
        """Starts it. Raises MalformedPayload, TaskFailed, TaskFailedInternally."""
        complete, folder = launcher.environment(env), launcher.folder(cwd)
        program = find_command(command, folder, complete["PATH"])
        ends = open_terminal(launcher, tty) if tty else open_pipes()
        complete = {"TERM": TERM} | complete if tty else complete
        start = Start(program, complete, folder, launcher.account, *ends.given, ends.terminal)
        try:
            child, group = await launcher.launch(start, f"+{number}")
        except BaseException:
            ends.close()
            raise
        return cls(launcher, child, group, ends)

    @property
    def stdin(self) -> Input:
        return self._stdin

    @property
    def stdout(self) -> AsyncIterator[bytes]:
        return aiter(self._stdout)

    @property
    def stderr(self) -> AsyncIterator[bytes]:
        return aiter(self._stderr) if self._stderr else _nothing()

    async def resize(self, rows: int, columns: int) -> None:
        if not self._terminal:
            raise NotSupported("this command has no terminal")
        if self._stdout.descriptor.open:
            set_size(self._stdout.descriptor.number, Size(rows, columns))

    async def wait(self) -> int:
        return await self._child.wait()

    async def abort(self) -> None:
        await self._launcher.end(self.group)
        await self._child.wait()
        self.close()

    def close(self) -> None:
        """Closes the worker's ends; output that was not read is lost. May be called again."""
        for end in (self._stdin, self._stdout, self._stderr):
            if end:
                end.descriptor.close()


def open_pipes() -> Ends:
    stdin_reader, stdin = os.pipe()
    stdout, stdout_writer = os.pipe()
    stderr, stderr_writer = os.pipe()
    return Ends(stdin, stdout, stderr, (stdin_reader, stdout_writer, stderr_writer))


def open_terminal(launcher: Launcher, size: Size) -> Ends:
    """A pseudo-terminal. It belongs to the run's user, whose shell opens it by its name."""
    controller, terminal = pty.openpty()
    set_size(controller, size)
    if launcher.account:
        launcher.account.take(terminal)
        if launcher.account.sudo:
            os.fchmod(terminal, FOR_GROUP)
    return Ends(os.dup(controller), controller, None, (terminal, terminal, terminal), os.ttyname(terminal))


def set_size(terminal: int, size: Size) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))


async def _nothing() -> AsyncIterator[bytes]:
    await asyncio.sleep(0)
    return
    yield b""
