"""One more command in a running container."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Self

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailed, TaskFailedInternally, Unavailable
from taskrunner.interfaces.execution import Exec, Input, Size
from taskrunner_docker.api.async_stream import BUFFER, Stream
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.api.frames import Demultiplexer, joined
from taskrunner_docker.container.host_processes import kill_marked
from taskrunner_docker.container.pipes import OutputPipe, StreamInput

_MARKER = "TASKRUNNER_EXEC"
_POLL_INTERVAL = 0.01
"""Seconds between two requests for the state of a command."""
_EXEC_TIMEOUT = 30.0
"""Seconds for a command to start, or to end after it was killed."""
_SIGNALED = 128
"""Docker adds this to the number of the signal that ended a command: it looks like an exit status of that value."""
_KILLED = _SIGNALED + signal.SIGKILL
_MAX_REFUSAL = 1000
"""Bytes of what Docker says when it cannot start a command."""

# Docker cannot kill an exec. Every process that it started carries the marker in its environment. As a rule the worker
# sees these processes itself (`host_processes`). Where it does not, a shell in the container does the same: a process
# that was forked during one round is killed in the next, and a round that finds none is the last. The number of rounds
# is bounded, since the kernel may keep a process alive.
_KILL = """
round=0
while [ $round -lt 100 ]; do
  round=$((round + 1)) found=
  for p in /proc/[0-9]*; do
    if tr '\\0' '\\n' 2>/dev/null <"$p/environ" | grep -qxF "$1" && kill -9 "${p#/proc/}"; then found=1; fi
  done 2>/dev/null
  [ "$found" ] || break
done
"""


class ContainerExec(Exec):
    """A command with pipes, or with a terminal. Made by `begin`."""

    def __init__(
        self,
        client: DockerClient,
        container: str,
        exec_id: str,
        marker: str,
        stream: Stream,
        *,
        tty: Size | None,
        sink: Callable[[int, bytes], Awaitable[None]] | None,
    ) -> None:
        self._sink, self._beginning = sink, b""
        self._client, self._container, self._id, self._marker, self._tty = client, container, exec_id, marker, tty
        self._pipes = {1: OutputPipe(), 2: OutputPipe()}
        self._input = StreamInput(stream)
        self._pump = asyncio.create_task(self._read(stream))

    @classmethod
    async def begin(
        cls,
        client: DockerClient,
        container: str,
        command: Sequence[str],
        *,
        tty: Size | None = None,
        env: Mapping[str, str] | None = None,
        working_dir: str | None = None,
        sink: Callable[[int, bytes], Awaitable[None]] | None = None,
    ) -> Self:
        """With a `sink`, each piece of output goes there with the number of its stream, and standard input is empty.

        Raises: TaskFailed (`exec-failed`).
        """
        marker = uuid.uuid4().hex
        try:
            made: dict[str, Any] = await client.call(
                client.api.exec_create,
                container,
                list(command),
                stdin=sink is None,
                tty=bool(tty),
                environment={**(env or {}), _MARKER: marker},
                workdir=working_dir,
            )
            body: dict[str, Any] = {"Detach": False, "Tty": bool(tty)}
            if tty:
                body["ConsoleSize"] = [tty.rows, tty.columns]
            stream = await client.stream("POST", f"/exec/{made['Id']}/start", body=body, upgrade=True)
        except (DockerError, Unavailable) as error:
            raise _cannot_start(command, str(error)) from None
        running = cls(client, container, made["Id"], marker, stream, tty=tty, sink=sink)
        try:
            await running._wait_for_start(command)
            if tty:
                await running.resize(tty.rows, tty.columns)  # Docker before 23 does not know the size at the start
        except BaseException:
            await running.abort()
            raise
        return running

    @property
    def stdin(self) -> Input:
        return self._input

    @property
    def stdout(self) -> AsyncIterator[bytes]:
        return self._pipes[1]

    @property
    def stderr(self) -> AsyncIterator[bytes]:
        return self._pipes[2]

    async def resize(self, rows: int, columns: int) -> None:
        if not self._tty:
            await super().resize(rows, columns)
        with suppress(DockerError):  # it has just ended, and has no terminal any more
            await self._client.call(self._client.api.exec_resize, self._id, height=rows, width=columns)

    async def wait(self) -> int:
        await asyncio.wait({self._pump})
        state = await self._state_when(lambda state: not state["Running"])
        code = int(_KILLED if state["ExitCode"] is None else state["ExitCode"])
        return _SIGNALED - code if _is_signal(code - _SIGNALED) else code

    async def abort(self) -> None:
        for pipe in self._pipes.values():
            pipe.discard()
        killed = await run_blocking(
            lambda: kill_marked(f"{_MARKER}={self._marker}"),
            limit=_EXEC_TIMEOUT,
            doing="killing a command in the container",
            error=TaskFailedInternally,
        )
        inside = ""
        if not killed and (not self._pump.done() or (await self._inspect())["Running"]):
            inside = await self._kill_inside()
        try:
            async with asyncio.timeout(_EXEC_TIMEOUT):
                await self.wait()
        except TimeoutError:
            why = inside or "though it was killed"
            raise TaskFailedInternally(f"a command in the container does not end, {why}") from None

    async def _kill_inside(self) -> str:
        """By a shell in the container. Returns what Docker says against it."""
        command = ["sh", "-c", _KILL, "kill", f"{_MARKER}={self._marker}"]
        try:
            made = await self._client.call(self._client.api.exec_create, self._container, command)
            output = await self._client.call(self._client.api.exec_start, made["Id"])
        except (DockerError, Unavailable) as error:
            return f"and cannot be killed: {error}"
        return f"and cannot be killed: {output.decode(errors='replace').strip()[:_MAX_REFUSAL]}" if output else ""

    async def _wait_for_start(self, command: Sequence[str]) -> None:
        """Docker reports "running" before it starts the command. A failure comes as the command's output."""
        try:
            async with asyncio.timeout(_EXEC_TIMEOUT):
                state = await self._state_when(lambda state: state["Pid"] or state["ExitCode"] is not None)
        except TimeoutError:
            raise _cannot_start(command, f"Docker has not started it within {_EXEC_TIMEOUT:.0f} s") from None
        if not state["Pid"]:
            await asyncio.wait({self._pump})
            raise _cannot_start(command, (self._beginning or self._pipes[1].peek()).decode(errors="replace").strip())

    async def _state_when(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while not condition(state := await self._inspect()):  # noqa: ASYNC110  Docker has no call that waits for it
            await asyncio.sleep(_POLL_INTERVAL)
        return state

    async def _inspect(self) -> dict[str, Any]:
        """The state of the command. It has ended when its container, and so its record in Docker, is gone."""
        try:
            state: dict[str, Any] = await self._client.call(self._client.api.exec_inspect, self._id)
        except DockerError as error:
            if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                return {"Running": False, "ExitCode": _KILLED, "Pid": 1}
            raise TaskFailedInternally(f"Docker cannot say what became of a command: {error}") from None
        except Unavailable as error:
            raise TaskFailedInternally(str(error)) from error
        return state

    async def _read(self, stream: Stream) -> None:
        demultiplexer = Demultiplexer()
        async with stream:
            try:
                while data := await stream.reader.read(BUFFER):
                    for number, piece in [(1, data)] if self._tty else joined(demultiplexer.feed(data)):
                        await self._put(number, piece)
            except OSError:
                pass  # the container is gone, and its commands with it
            finally:
                for pipe in self._pipes.values():
                    pipe.end()

    async def _put(self, number: int, piece: bytes) -> None:
        if self._sink is None:
            await self._pipes[number].put(piece)
            return
        self._beginning = self._beginning or piece[:_MAX_REFUSAL]
        await self._sink(number, piece)


def _cannot_start(command: Sequence[str], why: str) -> TaskFailed:
    return TaskFailed("exec-failed", f"cannot start {command[0] if command else 'nothing'!r} in the container: {why}")


def _is_signal(number: int) -> bool:
    return number in signal.valid_signals()
