"""Bytes to stdout and stderr, untouched, or made safe for a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import IO, Any

from taskrunner.cli.display.sanitize import LineBuffer, sanitize


async def print_bytes(pieces: AsyncIterator[bytes]) -> None:
    """Copies to stdout: untouched, but on a terminal without control sequences."""
    lines, terminal = LineBuffer(), sys.stdout.isatty()
    async for piece in pieces:
        _write(_for_terminal(lines.feed(piece)) if terminal else piece)
    _write(_for_terminal(lines.rest))


def _for_terminal(lines: bytes) -> bytes:
    return sanitize(lines).encode() if lines else b""


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def write_or_discard(stream: IO[Any] | None, data: bytes) -> None:
    """Writes to a stream; when its reader has gone, this and all later output is discarded. Blocks while the reader has
    paused. `stream` is None when the process was started without it.

    The bytes go past Python's buffer: its lock, held by a daemon thread that blocks here, would abort the interpreter
    when it flushes the buffer at exit.
    """
    if stream is None:
        return
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(stream.fileno(), view) :]
    except (OSError, ValueError):
        discard_output(stream)


def discard_output(stream: IO[Any]) -> None:
    """Points a stream whose reader has gone to /dev/null, so that later writes do not fail."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def same_file(*streams: IO[Any] | None) -> bool:
    """Whether these streams go to one terminal, pipe or file."""
    try:
        places = {os.fstat(stream.fileno())[1:3] for stream in streams if stream}
    except (OSError, ValueError):
        return False
    return len(places) == 1 and None not in streams
