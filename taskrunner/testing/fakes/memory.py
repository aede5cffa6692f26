"""MemoryLog and MemoryStore: a log and an artifact store in memory."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from taskrunner.interfaces.artifacts import LOG_NAME, ArtifactStore
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.results import READ_SIZE
from taskrunner.log.masking import Masker
from taskrunner.model import Artifact, RunKey


class MemoryLog(Log):
    """A log that can be read at any time. It masks when it is read, so that borders of calls do not matter."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._raw = bytearray()
        self._masker = Masker()
        self._ended = False
        self._readers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def write(self, data: bytes) -> None:
        with self._lock:
            if not self._ended:
                self._raw += data
            readers, self._readers = self._readers, []
        for loop, more in readers:
            loop.call_soon_threadsafe(more.set)

    def mask(self, secret: str) -> None:
        with self._lock:
            self._masker.add(secret)

    def end(self) -> None:
        """The run is over: writes go nowhere from now on."""
        self._ended = True

    @property
    def data(self) -> bytes:
        """Everything so far, without the secrets."""
        with self._lock:
            return self._masker.whole(bytes(self._raw))

    @property
    def text(self) -> str:
        """The same for people; what is no UTF-8 shows as `�`."""
        return self.data.decode(errors="replace")

    async def until(self, text: str) -> None:
        """Waits until the log has this text."""
        while True:
            more = asyncio.Event()
            with self._lock:
                self._readers.append((asyncio.get_running_loop(), more))
            if text in self.text:
                return
            await more.wait()


class MemoryStore(ArtifactStore):
    """Artifacts in memory: `bodies[RunKey("t1", 0), "public/report.xml"]`."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[RunKey, str], bytes] = {}
        self._types: dict[tuple[RunKey, str], str] = {}

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], *, content_type: str = "") -> Artifact:
        key = run, _checked(name)
        data = b"".join([chunk async for chunk in body])
        self.bodies[key] = data
        self._types[key] = content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return self._artifact(key)

    async def put_log(self, run: RunKey, spool: Path) -> None:
        self.bodies[run, LOG_NAME] = await asyncio.to_thread(spool.read_bytes)
        self._types[run, LOG_NAME] = "text/plain"

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        key = run, _checked(name)
        if key not in self.bodies:
            raise FileNotFoundError(f"{run} has no artifact {name}")
        for begin in range(offset, len(self.bodies[key]), READ_SIZE):
            yield self.bodies[key][begin : begin + READ_SIZE]

    async def list(self, run: RunKey) -> list[Artifact]:
        names = sorted(name for owner, name in self.bodies if owner == run and name != LOG_NAME)
        return [self._artifact((run, name)) for name in names]

    def log(self, run: RunKey) -> str:
        """The log of a run, as text."""
        return self.bodies[run, LOG_NAME].decode(errors="replace")

    def _artifact(self, key: tuple[RunKey, str]) -> Artifact:
        body = self.bodies[key]
        return Artifact(key[1], len(body), hashlib.sha256(body).hexdigest(), self._types[key])


def _checked(name: str) -> str:
    if any(part in {"", ".", ".."} for part in name.split("/")):
        raise ValueError(f"{name!r} is no artifact name: use a relative path without empty parts, . or ..")
    return name


__all__ = ["MemoryLog", "MemoryStore"]
