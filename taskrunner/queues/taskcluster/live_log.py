"""The logs of runs that go on, over HTTP, from their first byte to their end.

Each has a URL of its own that nobody can guess: who may read the artifact that refers to it may read the log. A reader
that is slow, or gone, holds up nobody.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import attrs
from aiohttp import web

from taskrunner.blocking import run_blocking
from taskrunner.errors import ConfigError
from taskrunner.files.private import make_private_folder
from taskrunner.model import RunKey
from taskrunner.queues.listening import Listener

T = TypeVar("T")

LOG_TYPE = "text/plain; charset=utf-8"

PIECE = 1 << 16
"""Bytes that a reader gets at a time."""

DISK_LIMIT = 60.0
"""Seconds for one piece of a log on the worker's own disk."""

CLOSE_LIMIT = 5.0
"""Seconds for the last readers when the worker stops."""

_HEADERS = {
    "Content-Type": LOG_TYPE,
    "Access-Control-Allow-Origin": "*",  # the pages of Taskcluster read it from another origin
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@attrs.define(eq=False)
class LiveLog:
    """One log: a file without a name, so that nothing of it outlives the worker."""

    file: int
    """Its descriptor. Each reader has a copy."""
    key: str = attrs.field(factory=partial(secrets.token_urlsafe, 32), repr=False)
    ended: bool = False
    _changed: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def append(self, offset: int, chunk: bytes) -> None:
        """The same piece again does no harm."""
        await _on_disk(partial(os.pwrite, self.file, chunk, offset))
        self._wake()

    def end(self) -> None:
        """Its readers get what there is, and the end."""
        self.ended = True
        self._wake()
        os.close(self.file)

    async def read(self) -> AsyncIterator[bytes]:
        """To its end, waiting for it."""
        file, at = os.dup(self.file), 0
        try:
            while True:
                ended, changed = self.ended, self._changed  # before the reading, so that nothing is missed
                if piece := await _on_disk(partial(os.pread, file, PIECE, at)):
                    at += len(piece)
                    yield piece
                elif ended:
                    return
                else:
                    await changed.wait()
        finally:
            os.close(file)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


@attrs.define(eq=False)
class LiveLogServer:
    """Serves the logs of one worker. `url` is where its readers reach the listener."""

    listener: Listener
    url: str
    folder: Path
    _runner: web.AppRunner | None = None
    _logs: dict[RunKey, LiveLog] = attrs.field(factory=dict)
    _readers: int = 0

    async def start(self) -> None:
        """Raises ConfigError."""
        app = web.Application(client_max_size=0)
        app.router.add_get("/log/{key}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_LIMIT)
        await self._runner.setup()
        tls, where = self.listener.tls, self.listener.address
        try:
            await web.TCPSite(self._runner, where.host, where.port, ssl_context=tls.context if tls else None).start()
        except OSError as error:
            raise ConfigError(f"live_log: cannot listen at {where}: {error.strerror or error}") from None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._runner.addresses[0][1]) if self._runner else 0

    async def begin(self, run: RunKey) -> str:
        """The URL of the run's log; the same one when it is called again."""
        if run not in self._logs:
            self._logs[run] = LiveLog(await _on_disk(partial(_nameless_file, self.folder)))
        return f"{self.url}/log/{self._logs[run].key}"

    async def append(self, run: RunKey, offset: int, chunk: bytes) -> None:
        if log := self._logs.get(run):
            await log.append(offset, chunk)

    def end(self, run: RunKey) -> None:
        """A second call does nothing."""
        if log := self._logs.pop(run, None):
            log.end()

    async def close(self) -> None:
        for run in list(self._logs):
            self.end(run)
        if self._runner:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if not self.listener.tokens.admits(request.headers.get("Authorization")):
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
        log = self._find(request.match_info["key"])
        if log is None:
            raise web.HTTPNotFound
        if self._readers >= self.listener.max_connections:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "10"})
        self._readers += 1
        try:
            return await _send(request, log)
        finally:
            self._readers -= 1

    def _find(self, key: str) -> LiveLog | None:
        found = [log for log in self._logs.values() if secrets.compare_digest(log.key.encode(), key.encode())]
        return found[0] if found else None


async def _send(request: web.Request, log: LiveLog) -> web.StreamResponse:
    response = web.StreamResponse(headers=_HEADERS)
    await response.prepare(request)
    async for piece in log.read():
        await response.write(piece)
    await response.write_eof()
    return response


def _nameless_file(folder: Path) -> int:
    make_private_folder(folder)
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())


async def _on_disk(work: Callable[[], T]) -> T:
    return await run_blocking(work, limit=DISK_LIMIT, doing="keeping a live log")
