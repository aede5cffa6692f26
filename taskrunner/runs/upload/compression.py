"""Compression of an artifact on its way into the store: gzip or zstd, piece by piece, in threads."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Protocol

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally
from taskrunner.model import ArtifactSpec

GZIP = 16 + zlib.MAX_WBITS
"""The window of zlib that means gzip's header and sum."""

PIECE_LIMIT = 60.0
"""Seconds to compress one piece, which takes milliseconds."""

GRACE = 5.0
"""Seconds for a piece that is being compressed to end, so that nothing else uses its compressor meanwhile."""


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def check_compressions(specs: Iterable[ArtifactSpec]) -> None:
    """Raises TaskFailedInternally when this worker lacks the library of one: before the run, not at its end."""
    for compression in {spec.compression for spec in specs}:
        if compression != "none":
            _compressor(compression)


async def compressed(body: AsyncIterator[bytes], compression: str) -> AsyncIterator[bytes]:
    """The pieces of one compressed file, at the level that the program of that name has by default."""
    compressor = _compressor(compression)
    async for piece in body:
        if done := await _in_thread(partial(compressor.compress, piece)):
            yield done
    yield await _in_thread(compressor.flush)


def _compressor(compression: str) -> _Compressor:
    if compression == "gzip":
        return zlib.compressobj(wbits=GZIP)
    try:
        import zstandard
    except ImportError:
        raise TaskFailedInternally(
            "this worker cannot compress artifacts by zstd: install taskrunner-worker[archives] on it"
        ) from None
    return zstandard.ZstdCompressor().compressobj()


async def _in_thread(work: Callable[[], bytes]) -> bytes:
    return await run_blocking(
        work, limit=PIECE_LIMIT, doing="compressing an artifact", grace=GRACE, error=TaskFailedInternally
    )
