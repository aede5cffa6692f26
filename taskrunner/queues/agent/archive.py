"""The artifacts of a run as one archive, made while it is sent: `Archive.tgz`, in chunks."""

from __future__ import annotations

import tarfile
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from taskrunner.blocking import run_blocking
from taskrunner.errors import Bug, TaskFailedInternally
from taskrunner.interfaces.push import ArtifactStream
from taskrunner.model import Artifact, RunKey

FILENAME = "Archive.tgz"

CHUNK_SIZE = 1 << 20
"""Bytes: the largest that a caller expects."""

LEVEL = 1
"""Of compression. Artifacts are compressed files for the most part, which a higher level only takes longer for."""

COMPRESS_LIMIT = 60.0
"""Seconds to compress one piece, which takes milliseconds."""

GZIP = 16 + zlib.MAX_WBITS

PREFIX = "artifacts/"
"""Of the names in the worker's store. In the archive they have none."""


class ArchiveStream(ArtifactStream):
    """Sends each artifact as an entry of the archive, and its end when the log would be due: all artifacts are sent
    then. `begin` and `send` are those of the peer."""

    def __init__(self, begin: Callable[[], Awaitable[None]], send: Callable[[bytes], Awaitable[None]]) -> None:
        self._begin, self._send = begin, send
        self._compressor = zlib.compressobj(LEVEL, wbits=GZIP)
        self._unsent = bytearray()
        self._unfinished = ""
        """The entry that is being sent."""

    async def put(
        self,
        run: RunKey,  # noqa: ARG002  one stream is for one run
        name: str,
        body: AsyncIterator[bytes],
        *,
        size: int | None = None,
        content_type: str = "",  # noqa: ARG002  an archive has none
        content_encoding: str = "",  # noqa: ARG002  a translated task compresses nothing
        expires: datetime | None = None,  # noqa: ARG002  an archive has none
    ) -> Artifact:
        """Raises: ClaimLost, TaskFailedInternally (an entry was cut, which ends the archive)."""
        if size is None:
            raise Bug(f"an entry of an archive begins with its size: {name}")
        if self._unfinished:
            raise TaskFailedInternally(f"{self._unfinished} was cut in the middle of the archive")
        await self._begin()
        self._unfinished = name
        await self._add(_header(name.removeprefix(PREFIX), size))
        sent = 0
        async for chunk in body:
            sent += len(chunk)
            await self._add(chunk)
        if sent != size:
            raise TaskFailedInternally(f"{name} has {sent} bytes, and not {size}")
        await self._add(bytes(-size % tarfile.BLOCKSIZE))
        self._unfinished = ""
        return Artifact(name, size, None)

    async def put_log(self, run: RunKey, spool: Path) -> None:  # noqa: ARG002  the caller has got the log by messages
        """Raises: ClaimLost."""
        await self._begin()
        await self._add(bytes(2 * tarfile.BLOCKSIZE))
        self._unsent += self._compressor.flush()
        await self._send_chunks(least=1)

    async def _add(self, data: bytes) -> None:
        compress = partial(self._compressor.compress, data)
        self._unsent += await run_blocking(compress, limit=COMPRESS_LIMIT, doing="compressing an artifact")
        await self._send_chunks(least=CHUNK_SIZE)

    async def _send_chunks(self, least: int) -> None:
        while len(self._unsent) >= least:
            await self._send(bytes(self._unsent[:CHUNK_SIZE]))
            del self._unsent[:CHUNK_SIZE]


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o644, int(time.time())
    return entry.tobuf(tarfile.PAX_FORMAT)
