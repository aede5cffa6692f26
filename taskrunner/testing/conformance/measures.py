"""What a plugin takes of this process: memory and file descriptors."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MEBIBYTE = 1 << 20

LARGE = 64 * MEBIBYTE
"""Bytes of a file that is streamed."""

MOST_MEMORY = 16 * MEBIBYTE
"""Bytes that streaming LARGE may take: far more than any buffer, and far less than the file."""

ROUNDS, BATCHES = 4, 8
"""How often an operation is repeated to see whether each time leaves a descriptor open."""


@contextmanager
def little_memory(doing: str) -> Iterator[None]:
    """Asserts that no more than MOST_MEMORY is allocated at any moment of the block."""
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not was_tracing:
            tracemalloc.stop()
    taken = (peak - before) // MEBIBYTE
    assert peak - before < MOST_MEMORY, f"{doing} of {LARGE // MEBIBYTE} MiB took {taken} MiB of memory: it is streamed"


async def large_body() -> AsyncIterator[bytes]:
    """LARGE bytes, each piece an object of its own, so that a plugin that keeps them takes that much memory."""
    for _ in range(LARGE // MEBIBYTE):
        yield bytes(MEBIBYTE)


async def assert_no_descriptor_stays_open(operation: Callable[[], Awaitable[object]], what: str) -> None:
    """Repeats an operation. A pool of connections grows for a while; a leak adds one each time, without an end."""
    more, before = 0, 0
    for batch in range(BATCHES):
        for _ in range(ROUNDS):
            await operation()
        more = _open_descriptors() - before
        if batch and more < ROUNDS:
            return
        before += more
    pytest.fail(f"{what} leaves file descriptors open: {ROUNDS} times left {more} more, after {BATCHES * ROUNDS} times")


def _open_descriptors() -> int:
    gc.collect()  # what only the collector closes is as good as closed
    folder = next((path for path in (Path("/proc/self/fd"), Path("/dev/fd")) if path.is_dir()), None)
    return sum(1 for _ in folder.iterdir()) if folder else 0


__all__ = ["LARGE", "MEBIBYTE", "MOST_MEMORY", "assert_no_descriptor_stays_open", "large_body", "little_memory"]
