"""Docker's answers that last: output of a container, progress of a push, the wait for an end.

Each has a socket of its own in the event loop, so that closing it ends the request at once. Docker keeps nothing for
a client that closes its connection: a pull or push stops there, and an attached container goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Any, Self

import attrs

from taskrunner.errors import RunLost, Unavailable
from taskrunner_docker.api.docker_errors import MAX_ERROR, broken, no_answer, read_refusal, unreachable

BUFFER = 1 << 18
"""Bytes read at a time, and the longest line of progress. A container whose output is not read stops."""
_MOST_HEADERS = 1 << 16


@attrs.define
class Stream:
    """The body of an answer while it comes; after an upgrade the connection to a process, bytes both ways."""

    status: int
    headers: Mapping[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    closed: Callable[[], None] = lambda: None
    """Called when it is closed."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection. May be called again."""
        self.writer.transport.abort()
        self.closed()

    async def documents(self, idle: float) -> AsyncIterator[dict[str, Any]]:
        """The JSON documents of a progress stream. Raises Unavailable when nothing comes for `idle` seconds, or what
        comes is no JSON."""
        while True:
            try:
                async with asyncio.timeout(idle):
                    line = await self.reader.readline()
            except TimeoutError:
                raise Unavailable(f"Docker has been silent for {idle:.0f} seconds") from None
            except (OSError, ValueError) as error:
                raise broken(error) from error
            if not line:
                return
            yield _document(line)


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError:
        raise RunLost("Docker ended in the middle of its answer") from None
    return document if isinstance(document, dict) else {}


async def request(
    socket: str,
    method: str,
    target: str,
    *,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    upgrade: bool = False,
    limit: float,
) -> Stream:
    """Sends one request over the unix socket at `socket`, and returns when the answer has begun, after `limit` seconds
    at most. `body` is sent as JSON; `upgrade` asks for a connection to a process.

    The request is HTTP/1.0 unless upgraded: its answer has no chunks, and ends with the connection.
    Raises: DockerError, Unavailable.
    """
    try:
        async with asyncio.timeout(limit):
            reader, writer = await _connect(socket)
            try:
                writer.write(_head(method, target, body, headers or {}, upgrade=upgrade))
                status, answered = await _answer(reader)
            except BaseException:
                writer.transport.abort()
                raise
    except TimeoutError:
        raise no_answer(socket, limit) from None
    except (OSError, EOFError, ValueError) as error:
        raise unreachable(socket, error) from error
    return Stream(status, answered, reader, writer)


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connect(socket: str) -> Connection:
    """A cancellation while the connection is made closes it; asyncio leaves that to the garbage collector."""
    opening = asyncio.create_task(asyncio.open_unix_connection(socket, limit=BUFFER))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_abort)
        raise


def _abort(opening: asyncio.Task[Connection]) -> None:
    if not opening.cancelled() and not opening.exception():
        _, writer = opening.result()
        writer.transport.abort()


def _head(method: str, target: str, body: object, headers: Mapping[str, str], *, upgrade: bool) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {target} HTTP/{'1.1' if upgrade else '1.0'}", "Host: docker", f"Content-Length: {len(content)}"]
    lines += ["Content-Type: application/json"] if content else []
    lines += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else []
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    status, headers = await _answer_head(reader)
    if status >= HTTPStatus.BAD_REQUEST:
        raise read_refusal(status, await reader.read(MAX_ERROR))
    return status, headers


async def _answer_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    if not first.startswith("HTTP/1.") or len(head) > _MOST_HEADERS:
        raise ValueError("it does not speak HTTP")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}
