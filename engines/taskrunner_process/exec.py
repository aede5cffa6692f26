"""ProcessExec: one more command beside the main one, with pipes or a terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Sequence

import attrs

from taskrunner.errors import NotSupported
from taskrunner.interfaces.execution import Exec, Input
from taskrunner_process.child import Child, Start
from taskrunner_process.groups.process_group import ProcessGroup
from taskrunner_process.launcher import Launcher
from taskrunner_process.pipes import PipeInput, PipeOutput, TerminalInput

TERM = "xterm-256color"
"""The most common one; for a command with a terminal, when the run's environment names none."""


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
    async def start(cls, launcher: Launcher, command: Sequence[str], number: int, *, tty: bool) -> ProcessExec:
        """Starts it. Raises TaskFailed, TaskFailedInternally."""
        program = launcher.find(command)
        ends = open_terminal(launcher) if tty else open_pipes()
        env = {"TERM": TERM} | dict(launcher.env) if tty else launcher.env
        start = Start(program, env, launcher.context.folder, launcher.account, *ends.given, ends.terminal)
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
            set_size(self._stdout.descriptor.number, rows, columns)

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


def open_terminal(launcher: Launcher) -> Ends:
    """A pseudo-terminal of 24 rows and 80 columns. It belongs to the run's user, whose shell opens it by its name."""
    controller, terminal = pty.openpty()
    set_size(controller, 24, 80)
    if launcher.account:
        os.fchown(terminal, launcher.account.uid, launcher.account.gid)
    return Ends(os.dup(controller), controller, None, (terminal, terminal, terminal), os.ttyname(terminal))


def set_size(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


async def _nothing() -> AsyncIterator[bytes]:
    await asyncio.sleep(0)
    return
    yield b""
