"""Reading the log of a run: all of it, from an offset, live, or just its last line.

A log is a file that only grows, so an offset in bytes always means the same place in it.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from inspect import isawaitable
from pathlib import Path

from taskrunner.blocking import run_blocking
from taskrunner.interfaces.results import READ_SIZE

POLL = 0.1
"""Seconds between two checks of the size of a followed file: a delay that a reader of a log does not notice. A check
costs a microsecond; notifications need inotify or kqueue, threads, and more code than they save."""

READ_LIMIT = 60.0
"""Seconds for reading one piece (`READ_SIZE`): the slowest disk needs a few milliseconds, and a longer read hangs."""

WINDOW = 4096
"""Bytes at the end of a log that are searched for its last line."""

LINE_LENGTH = 200
"""Characters of a last line that are kept: more than a terminal is wide."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*(?:[@-~]|$)|[\]PX^_].*?(?:\x07|\x1b\\|$)|[ -/]*[0-~])")
"""ANSI: control sequences; strings such as a window's title, up to their end; the short escapes."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
"""Characters that move the cursor, break a line, or change the direction of writing."""

Ended = Callable[[], bool | Awaitable[bool]]


async def follow(path: Path, offset: int = 0, *, ended: Ended) -> AsyncGenerator[bytes, None]:
    """The log from a byte offset, live: every byte once, in order. Waits for the file to appear, and stops when `ended`
    has returned true, after which nothing may be written, and all has been read.

    Raises: OSError when the file exists and cannot be read.
    """
    while True:
        last = await _is_true(ended)  # asked before the reading, so that all that was written by then is read
        async for piece in read(path, offset):
            offset += len(piece)
            yield piece
        if last:
            return
        await asyncio.sleep(POLL)


async def read(path: Path, offset: int = 0, *, recent: bool = False) -> AsyncIterator[bytes]:
    """The log from a byte offset to its present end; nothing when there is no file. For a reader of what is `recent`,
    pieces that are in memory are copied at once, without a thread: it takes longer to begin than to copy one.

    Raises: OSError, of which OverLimit is one.
    """
    while (left := _size(path) - offset) > 0:
        size = min(left, READ_SIZE)
        piece = (recent and _read_cached(path, offset, size)) or await _read_piece(path, offset, size)
        if not piece:
            return
        offset += len(piece)
        yield piece


def last_line(path: Path) -> str:
    """The newest line of a log that is not blank, as short plain text; empty when there is none. Of a progress bar that
    redraws its line, the newest state. Raises nothing.
    """
    try:
        end = _read(path, max(0, _size(path) - WINDOW), WINDOW)
    except OSError:
        return ""
    lines = map(_plain, reversed(re.split(r"[\r\n]", end.decode("utf-8", "replace"))))
    return next(filter(None, lines), "")


def _plain(line: str) -> str:
    return _CONTROLS.sub(" ", _ESCAPES.sub("", line)).strip()[:LINE_LENGTH]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


async def _read_piece(path: Path, offset: int, size: int) -> bytes:
    return await run_blocking(partial(_read, path, offset, size), limit=READ_LIMIT, doing=f"reading {path}")


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        with _opened(path) as file:
            return os.pread(file, size, offset)
    except FileNotFoundError:
        return b""


def _read_cached(path: Path, offset: int, size: int) -> bytes:
    """The piece if all of it is in memory. Nothing where the disk would be waited for, or a system or file system
    cannot tell."""
    if sys.platform == "linux":
        piece = bytearray(size)
        with suppress(OSError), _opened(path) as file:
            if os.preadv(file, [piece], offset, os.RWF_NOWAIT) == size:
                return bytes(piece)
    return b""


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


async def _is_true(ended: Ended) -> bool:
    answer = ended()
    return await answer if isawaitable(answer) else answer
