"""The log of the build on its way to a signed URL: a file without a name, which is sent as a whole again and again."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.files.downloads.location import Location
from taskrunner.files.upload import upload
from taskrunner.queues.launcher.log.lines import WARNING, json_line

log = logging.getLogger(__name__)

EVERY = 10.0
"""Seconds between two uploads of a log that changes."""

UPLOAD_LIMIT = 120.0
"""Seconds for one upload."""

LAST_LIMIT = 15.0
"""Seconds for the last one, for which the launcher waits."""

LAST_PAUSES = (0.5, 2.0, 5.0)
"""Seconds until the last one is tried again after an error that may pass, within its limit."""

WRITE_LIMIT = 20.0
"""Seconds to append a few kilobytes to a file of the worker's own disk."""

MAX_SIZE = 256 << 20
"""Bytes. A run keeps 64 MiB of its log; in lines of JSON a usual one takes three times as much."""

TOO_LONG = "[the log is too long: what follows is in the log of the run on its worker]"


@attrs.frozen
class LogTarget:
    """Where the log goes."""

    location: Location
    headers: Mapping[str, str] = attrs.field(repr=False)


class LauncherLog:
    """Without a target, nothing is kept of it."""

    def __init__(self, target: LogTarget | None, folder: Path) -> None:
        """The file is on the disk of this folder."""
        self._target, self.folder = target, folder
        self._file = -1
        self._size, self._sent = 0, 0
        self._full = False
        self._lock = threading.Lock()
        self._sending: asyncio.Task[None] | None = None
        self._failing = False
        """Whether the last upload has failed: the first of a row is worth a warning."""

    @property
    def kept(self) -> bool:
        """Whether anybody wants it."""
        return self._target is not None

    async def write(self, lines: Iterable[bytes]) -> None:
        """Appends lines. What the disk does not take is left out, with a warning."""
        try:
            await run_blocking(lambda: self._append(lines), limit=WRITE_LIMIT, doing="writing the log of the build")
        except (OSError, OverLimit) as error:
            self._warn(str(error))
        if self._target and self._sending is None:
            self._sending = asyncio.create_task(self._send_regularly(self._target), name="the log of the build")

    async def finish(self) -> bool:
        """Sends the last state of the log. Called again, it sends only what was not taken. Returns whether all of it is
        where it goes."""
        if self._sending:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        if self._target:
            await self._send_last(self._target)
        return self._sent == self._size

    async def close(self) -> None:
        """Nothing is sent any more."""
        if self._sending:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        if self._file >= 0:
            os.close(self._file)
            self._file, self._target = -1, None

    def _append(self, lines: Iterable[bytes]) -> None:
        with self._lock:  # a call that was given up may still run
            data = b"".join(lines)
            if self._target:
                self._store(data)

    def _store(self, data: bytes) -> None:
        if self._file < 0:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                self._file = os.dup(file.fileno())
        if self._size + len(data) > MAX_SIZE:
            data = b"" if self._full else json_line(TOO_LONG, datetime.now(UTC), WARNING, {})
            self._full = True
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file, view, self._size)
            self._size, view = self._size + written, view[written:]

    async def _send_regularly(self, target: LogTarget) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self._send(target, UPLOAD_LIMIT)

    async def _send_last(self, target: LogTarget) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + LAST_LIMIT
        for pause in LAST_PAUSES:
            if await self._send(target, end - loop.time()) or loop.time() + pause >= end:
                return
            await asyncio.sleep(pause)
        await self._send(target, end - loop.time())

    async def _send(self, target: LogTarget, limit: float) -> bool:
        """Whether this is all that can be done: the log was sent, or refused for good."""
        size = self._size
        if size == self._sent:
            return True
        try:
            await upload(target.location, self._file, size, target.headers, limit=limit)
        except (Unavailable, TaskFailedInternally) as error:
            self._warn(str(error))
            return isinstance(error, TaskFailedInternally)
        self._sent, self._failing = size, False
        return True

    def _warn(self, problem: str) -> None:
        if not self._failing:
            log.warning("the log of the build is not sent: %s", problem)
        self._failing = True
