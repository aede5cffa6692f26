"""A service of a run: its container, its log, and its readiness."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.errors import TaskFailed, TaskFailedInternally, Unavailable, local_failure
from taskrunner.interfaces.log import Log
from taskrunner_docker.api.async_stream import BUFFER, Stream
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.api.frames import STDERR, Demultiplexer, joined
from taskrunner_docker.cleanup.removal import remove_container
from taskrunner_docker.container.attachments.last_lines import LastLines
from taskrunner_docker.container.attachments.readiness import Readiness
from taskrunner_docker.container.attachments.service_memory import ServiceMemory
from taskrunner_docker.container.creation import create_container

FAILED = "service-failed"
_INTERVAL = 0.05
"""Seconds between two questions whether it is ready."""
_LOG_LIMIT = 60.0
"""Seconds for a piece of output to reach the log."""


class RunningService:
    """From its creation to its removal."""

    def __init__(self, client: DockerClient, name: str, container: str, log: Log, run_log: Log) -> None:
        """`container` is the name of its container, and `run_log` the log of the run."""
        self._client, self._name, self._container = client, name, container
        self._log, self._run_log = log, run_log
        self._last_lines = LastLines(run_log.new_masker())
        self._watching: asyncio.Task[int] | None = None
        self._streams: list[Stream] = []
        self._is_ready = self._ends = False
        self.memory = ServiceMemory(client, container, name)

    async def start(self, body: Mapping[str, Any], readiness: Readiness, limit: float) -> None:
        """Returns when it is ready. Raises: NotSupported, TaskFailed, TaskFailedInternally, Unavailable."""
        try:
            await self._start(body)
            await self._wait_ready(readiness, limit)
        except DockerError as error:
            raise TaskFailed(FAILED, f"the service {self._name} cannot be started: {error}") from None
        except OSError as error:
            raise local_failure(f"the service {self._name} cannot be watched: {error}", error) from None
        self._is_ready = True
        self._run_log.say(f"the service {self._name} is ready")

    async def remove(self) -> None:
        """Ends it. A second call does nothing. Raises TaskFailedInternally."""
        if not self._ends:
            self._ends = True
            await self._tell_of_memory()
        await remove_container(self._client, self._container)
        if self._watching:
            self._watching.cancel()  # what it has printed in its last moments is not waited for
            await asyncio.wait({self._watching})
        for stream in self._streams:
            stream.close()

    async def _start(self, body: Mapping[str, Any]) -> None:
        self.memory.limit = body["HostConfig"].get("Memory", 0)
        path = f"/containers/{await create_container(self._client, self._container, body)}"
        attach = {"stream": "1", "stdout": "1", "stderr": "1"}
        self._streams.append(await self._client.stream("POST", f"{path}/attach", attach, upgrade=True))
        self._streams.append(await self._client.stream("POST", f"{path}/wait", {"condition": "next-exit"}))
        await self._client.call(self._client.api.start, self._container)
        self._watching = asyncio.create_task(self._watch(*self._streams))

    async def _watch(self, output: Stream, ending: Stream) -> int:
        """Its exit code, after its output. -1 when Docker does not say."""
        demultiplexer = Demultiplexer()
        try:
            while data := await output.reader.read(BUFFER):
                await self._write(list(joined(demultiplexer.feed(data))))
            status = int(json.loads(await ending.reader.read())["StatusCode"])
        except (OSError, ValueError, KeyError, OverLimit, TaskFailedInternally):
            status = -1
        why = f": {story}" if (story := await self.memory.look_at_its_end()) else ""
        if self._is_ready and not self._ends:
            self._run_log.say(f"the service {self._name} has ended while the task runs, with exit code {status}{why}")
        return status

    async def _tell_of_memory(self) -> None:
        if self._watching and not self._watching.done() and (story := await self.memory.look_while_it_runs()):
            self._run_log.say(story)

    async def _write(self, pieces: list[tuple[int, bytes]]) -> None:
        await run_blocking(partial(self._write_each, pieces), limit=_LOG_LIMIT, doing="writing to a service's log")

    def _write_each(self, pieces: list[tuple[int, bytes]]) -> None:
        for number, piece in pieces:
            self._log.write(piece, "stderr" if number == STDERR else "stdout")
            self._last_lines.feed(piece)

    async def _wait_ready(self, readiness: Readiness, limit: float) -> None:
        asking = asyncio.create_task(self._ask(readiness))
        ended: set[asyncio.Task[int]] = {self._watching} if self._watching else set()
        try:
            await asyncio.wait({asking, *ended}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and not asking.exception():
                return
            raise await self._failure(asking, limit)
        finally:
            asking.cancel()
            await asyncio.wait({asking})

    async def _ask(self, readiness: Readiness) -> None:
        while not await readiness.is_ready(self._container):  # noqa: ASYNC110  neither a port nor a command gives notice
            await asyncio.sleep(_INTERVAL)

    async def _failure(self, asking: asyncio.Task[None], limit: float) -> Exception:
        """Why it is not ready. Its own end explains more than a question that failed by it."""
        error = asking.exception() if asking.done() else None
        if error and self._watching:
            await asyncio.wait({self._watching}, timeout=1.0)
        if self._watching and self._watching.done():
            why = f": {self.memory.story}" if self.memory.story else ""
            problem = f"has ended with exit code {self._watching.result()} before it was ready{why}"
        elif error is None:
            problem = f"was not ready within {limit:g} s"
        elif isinstance(error, TaskFailed):
            problem = error.message
        elif isinstance(error, Exception):
            return error
        else:
            return Unavailable(f"the service {self._name} was not waited for")
        lines = await run_blocking(self._last_lines.text, limit=_LOG_LIMIT, doing="masking")
        shown = f"; its last lines:\n{lines}" if lines else "; it has printed nothing"
        return TaskFailed(FAILED, f"the service {self._name} {problem}{shown}")
