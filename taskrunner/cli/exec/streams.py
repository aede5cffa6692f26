"""The streams of the caller: read and written without blocking the event loop, and without changing them.

O_NONBLOCK would be set for all programs that share a terminal or a pipe, the caller's shell among them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

READ = 1 << 16
"""Bytes at a time."""

WRITE = 4096
"""Bytes at a time (PIPE_BUF): a pipe that can be written to has room for as many, so that the call does not block."""


async def read(descriptor: int) -> bytes:
    """The next bytes; empty at the end."""
    loop = asyncio.get_running_loop()
    await _ready(descriptor, loop.add_reader, loop.remove_reader)
    return os.read(descriptor, READ)


async def write(descriptor: int, data: bytes) -> None:
    """Waits while the reader does not read. Raises BrokenPipeError."""
    loop = asyncio.get_running_loop()
    view = memoryview(data)
    while view:
        await _ready(descriptor, loop.add_writer, loop.remove_writer)
        view = view[os.write(descriptor, view[:WRITE]) :]


async def _ready(descriptor: int, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    ready = asyncio.Event()
    try:
        add(descriptor, ready.set)
    except PermissionError:  # a file or /dev/null, which is always ready
        return
    try:
        await ready.wait()
    finally:
        remove(descriptor)
