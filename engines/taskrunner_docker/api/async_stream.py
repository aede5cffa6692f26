"""Docker's answers that last: output of a container, progress of a push, the wait for an end.

Each has a socket of its own in the event loop, so that closing it ends the matter at once. Docker keeps nothing for
a client that hangs up: a pull or push stops there, and an attached container goes on.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import operator
import struct
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Self

import attrs

from taskrunner.errors import Unavailable

ANSWER_TIMEOUT = 120.0
"""Seconds until an answer begins: Docker may be busy with a disk, but not for ever."""
BUFFER = 1 << 18
"""Bytes read at a time, and the longest line of progress. A container whose output nobody reads stops."""
_MOST_HEADERS = 1 << 16


class DockerError(Exception):
    """Docker said no. `status` is HTTP's: 404 for what is not there, 409 for what cannot be done now."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status, self.message = status, message

    def __str__(self) -> str:
        return self.message


@attrs.define
class Stream:
    """The body of an answer while it comes, or after an upgrade the line to a process: bytes both ways."""

    status: int
    headers: Mapping[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up. May be called again."""
        self.writer.transport.abort()

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
                raise Unavailable(f"the connection to Docker broke: {error}") from error
            if not line:
                return
            yield _document(line)


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError:
        raise Unavailable("Docker broke off in the middle of its answer") from None
    return document if isinstance(document, dict) else {}


async def request(
    socket: str,
    method: str,
    target: str,
    *,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    upgrade: bool = False,
) -> Stream:
    """Sends one request over the unix socket at `socket`, and returns when the answer has begun. `body` is sent as
    JSON; `upgrade` asks for a line to a process.

    The request is HTTP/1.0 unless upgraded: its answer has no chunks, and ends with the connection.
    Raises: DockerError, Unavailable.
    """
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(socket, limit=BUFFER)
            try:
                writer.write(_head(method, target, body, headers or {}, upgrade=upgrade))
                status, answered = await _answer(reader)
            except BaseException:
                writer.transport.abort()
                raise
    except TimeoutError:
        raise Unavailable(f"Docker has not answered within {ANSWER_TIMEOUT:.0f} seconds ({socket})") from None
    except (OSError, EOFError, ValueError) as error:
        raise Unavailable(no_answer(socket, error)) from error
    return Stream(status, answered, reader, writer)


def no_answer(socket: str, error: Exception) -> str:
    """Why there is no talking to Docker, and what to do."""
    text = str(error)
    if isinstance(error, PermissionError) or "Permission denied" in text:
        return f"no permission for Docker's socket {socket}: add this user to the group docker, and log in again"
    gone = isinstance(error, FileNotFoundError | ConnectionRefusedError)
    why = "nothing listens there" if gone or "refused" in text or "No such file" in text else text
    return f"Docker does not answer at {socket} ({why}): start it, or name its socket as `host` in [docker]"


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
        raise DockerError(status, _error_text(await reader.read(BUFFER)))
    return status, headers


async def _answer_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    if not first.startswith("HTTP/1.") or len(head) > _MOST_HEADERS:
        raise ValueError("it does not speak HTTP")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _error_text(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip() or "no reason given"


class Demultiplexer:
    """Takes apart the output of a process without a terminal: frames of a stream's number (1 is stdout, 2 is stderr),
    three zero bytes, a length, and as many bytes. Holds back nothing but a header that is cut in two."""

    _header = struct.Struct(">BxxxI")

    def __init__(self) -> None:
        self._partial = b""
        self._number = 1
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """What came, as pieces with the number of their stream."""
        pieces: list[tuple[int, bytes]] = []
        view, at = self._partial + data if self._partial else data, 0
        while True:
            if self._left and at < len(view):
                piece = view[at : at + self._left]
                at, self._left = at + len(piece), self._left - len(piece)
                pieces.append((self._number, piece))
            elif not self._left and len(view) - at >= self._header.size:
                self._number, self._left = self._header.unpack_from(view, at)
                at += self._header.size
            else:
                self._partial = view[at:]
                return pieces


def joined(pieces: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """The same, with neighbours of one stream in one piece: a frame is often a single line."""
    for number, group in itertools.groupby(pieces, key=operator.itemgetter(0)):
        yield number, b"".join(piece for _, piece in group)
