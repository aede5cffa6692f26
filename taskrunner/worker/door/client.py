"""The operator's side of the door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from taskrunner.errors import Unavailable
from taskrunner.state.worker_lock import socket_path
from taskrunner.worker.door.address import short_name
from taskrunner.worker.door.frames import Link
from taskrunner.worker.door.protocol import MAX_ANSWER, DoorError, encode, parse

LIMIT = 10.0
"""Seconds for one request. A worker answers within milliseconds, unless it hangs."""


async def ask(home: Path, worker_id: str, verb: str, **fields: Any) -> Mapping[str, Any]:
    """Sends one request to a worker and returns the `worker` of its answer: a `WorkerReport` as JSON values.

    Raises: Unavailable, which says why there is no answer.
    """
    try:
        async with asyncio.timeout(LIMIT):
            line = await _exchange(socket_path(home, worker_id), encode(verb=verb, **fields))
        answer = parse(line)
    except TimeoutError:
        raise Unavailable(f"worker {worker_id} has not answered for {LIMIT:g} s") from None
    except (DoorError, OSError, ValueError) as error:
        raise Unavailable(f"worker {worker_id} cannot be asked: {getattr(error, 'strerror', '') or error}") from None
    if not answer.get("ok"):
        raise Unavailable(f"worker {worker_id} refuses: {answer.get('message')}")
    report: Mapping[str, Any] = answer["worker"]
    return report


@asynccontextmanager
async def taken_over(home: Path, worker_id: str, verb: str, **fields: Any) -> AsyncIterator[Link]:
    """A connection that a verb has taken over, for as long as the block lasts.

    Raises: DoorError (the worker refuses, in words), Unavailable.
    """
    try:
        reader, writer = await _connect(socket_path(home, worker_id))
    except OSError as error:
        raise Unavailable(f"worker {worker_id} cannot be asked: {error.strerror or error}") from None
    try:
        writer.write(encode(verb=verb, **fields))
        _check_accepted(await reader.readline())
        yield Link(reader, writer)
    finally:
        writer.transport.abort()


def _check_accepted(line: bytes) -> None:
    """Raises DoorError, Unavailable."""
    if not line:
        raise Unavailable("the worker has closed the connection")
    answer = parse(line)
    if not answer.get("ok"):
        raise DoorError(answer["error"], answer["message"])


async def _connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    with short_name(path) as name:
        return await asyncio.open_unix_connection(name, limit=MAX_ANSWER)


async def _exchange(path: Path, request: bytes) -> bytes:
    reader, writer = await _connect(path)
    try:
        writer.write(request)
        with suppress(ConnectionError):  # a refusal may have come before the request was sent
            await writer.drain()
        return await reader.readline()
    finally:
        writer.close()
