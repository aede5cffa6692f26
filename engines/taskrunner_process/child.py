"""Child: one process that the worker started, from its first step to its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from taskrunner.errors import Bug, TaskFailed, local_failure
from taskrunner_process.accounts.account import Account
from taskrunner_process.groups.process_group import MARKER, ProcessGroup
from taskrunner_process.sudo import REDIRECT, Sudo, script_file, start_script

STOP_FIRST = "kill -STOP $$;"
"""Stops before anything else happens, so that the process is in its group before it can have children."""
OPEN_TERMINAL = 'exec <>"$1" >&0 2>&0; shift;'
"""Opens a terminal, which becomes the controlling one of a session that has none."""
RUN_COMMAND = 'exec "$@"'

BEFORE_SUDO = (MARKER,)
"""The variables of the shell in front of sudo: a search finds it by them."""

UMASK = 0o022
"""Files of a run are readable by others, whatever the worker's own mask is."""


@attrs.frozen
class Start:
    """How a process is started. Where a shell is needed in front, it replaces itself by the command.

    It owns the three descriptors: `spawn` closes them, which may be later than its limit.
    """

    command: Sequence[str]
    env: Mapping[str, str] = attrs.field(repr=False)
    folder: Path
    account: Account | None
    stdin: int
    stdout: int
    stderr: int
    terminal: str = ""
    """The terminal's path; it then takes the place of the three descriptors."""

    def close(self) -> None:
        """Closes the descriptors. Called once."""
        for number in {self.stdin, self.stdout, self.stderr}:
            os.close(number)


class Child:
    """A running process that `spawn` has started, the first of its group. Used from the event loop.

    The group decides how long it stays a zombie after its exit: no other process gets its number meanwhile.
    """

    def __init__(self, process: subprocess.Popen[bytes], group: ProcessGroup) -> None:
        self._process, self._group = process, group
        self.pid = process.pid
        self._exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watch()

    async def wait(self) -> int:
        """Its exit status; minus the signal's number when a signal ended it. Cancelling it ends the wait only.

        Raises: TaskFailedInternally when it cannot be killed.
        """
        return await asyncio.shield(self._exited)

    def fail(self, error: Exception) -> None:
        """It cannot be killed: `wait` raises this error, unless the process has exited after all."""
        if not self._exited.done():
            self._exited.set_exception(error)
            self._exited.exception()  # marks it as seen: the caller knows the error

    def _watch(self) -> None:
        """A file descriptor for the process costs a few µs. On systems without one, a thread of its own waits: the life
        of a process has no limit, so that it must not occupy a thread of `run_blocking`."""
        loop = asyncio.get_running_loop()
        if hasattr(os, "pidfd_open"):
            descriptor = os.pidfd_open(self.pid)
            loop.add_reader(descriptor, self._collect, descriptor)
        else:
            threading.Thread(target=self._wait_blocking, args=(loop,), daemon=True).start()

    def _collect(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self._finish(self._status())

    def _wait_blocking(self, loop: asyncio.AbstractEventLoop) -> None:
        status = self._status()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._finish, status)

    def _status(self) -> int:
        """Blocks until it has exited."""
        if not hasattr(os, "waitid"):  # Python 3.12 on macOS: its number may be another's at once
            return self._process.wait()
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        if found is None:
            raise Bug("waiting for a process has ended before the process")
        self._group.first_exited(self._process.wait)
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def _finish(self, status: int) -> None:
        if not self._exited.done():
            self._exited.set_result(status)


def spawn(start: Start, group: ProcessGroup) -> subprocess.Popen[bytes]:
    """Starts a process as the first of a group, in a session of its own, and closes the descriptors of `start`. Blocks
    until it runs.

    Raises: TaskFailed (`command-too-long`), TaskFailedInternally (no processes or memory left, the folder is gone).
    """
    try:
        with group.entered() as inside:
            process = _start(start, starts_stopped=group.starts_stopped)
            if not inside:
                _add(process, group)
    except OSError as error:
        raise local_failure(f"the new process could not be put into its group: {error}", error) from None
    finally:
        start.close()
    return process


def _start(start: Start, *, starts_stopped: bool) -> subprocess.Popen[bytes]:
    if start.account and start.account.sudo:
        return _start_by_sudo(start, start.account.sudo, starts_stopped=starts_stopped)
    if not (starts_stopped or start.terminal):
        with contextlib.suppress(OSError):  # a script without `#!` is for the shell, which also reports what is wrong
            return _popen(start, start.command)
    script = (STOP_FIRST if starts_stopped else "") + (OPEN_TERMINAL if start.terminal else "") + RUN_COMMAND
    arguments = [start.terminal, *start.command] if start.terminal else start.command
    try:
        return _popen(start, ["/bin/sh", "-c", script, "sh", *arguments])
    except OSError as error:
        raise local_failure(f"no process could be started: {error.strerror}", error) from None


def _start_by_sudo(start: Start, sudo: Sudo, *, starts_stopped: bool) -> subprocess.Popen[bytes]:
    """The environment and the command are in a file that has no name, and in no argument."""
    script = (STOP_FIRST if starts_stopped else "") + (OPEN_TERMINAL if start.terminal else "") + REDIRECT + RUN_COMMAND
    before = {name: start.env[name] for name in BEFORE_SUDO if name in start.env}
    with script_file(start_script(start.command, start.env, UMASK)) as file:
        place = f"/dev/fd/{file.fileno()}"
        arguments = [start.terminal, place] if start.terminal else [place]
        command = ["/bin/sh", "-c", script, "sh", *arguments, *sudo.command]
        try:
            return _popen(attrs.evolve(start, env=before), command, keep=(file.fileno(),))
        except OSError as error:
            raise local_failure(f"no process could be started: {error.strerror}", error) from None


def _popen(start: Start, command: Sequence[str], keep: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
    """Raises OSError, TaskFailed."""
    try:
        return subprocess.Popen(
            command,
            cwd=start.folder,
            env=start.env,
            stdin=start.stdin,
            stdout=start.stdout,
            stderr=start.stderr,
            pass_fds=keep,
            start_new_session=True,
            umask=UMASK,
            **(start.account.popen_options if start.account else {}),
        )
    except OSError as error:
        if error.errno == errno.E2BIG:
            raise TaskFailed("command-too-long", "the command and its environment are too long; use a file") from None
        raise


def _add(process: subprocess.Popen[bytes], group: ProcessGroup) -> None:
    try:
        if group.starts_stopped:
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        group.add(process.pid)
        if group.starts_stopped:
            os.kill(process.pid, signal.SIGCONT)
    except OSError:
        with contextlib.suppress(PermissionError):  # sudo has begun: its group, which it is not in, cannot end it
            process.kill()
            process.wait()
        raise
