"""A tar stream out of a container that is read member by member, in threads, a member ahead of its reader."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import attrs

from taskrunner.connections import Connections
from taskrunner.errors import RunLost, TaskFailedInternally, Unavailable
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError, is_link_loop
from taskrunner_docker.api.tar import TarStream, read_in_thread

T = TypeVar("T")

PIECE = 1 << 20
"""Bytes of a file at a time. Each piece takes a trip to a thread, and another one into the store; on a busy machine a
trip waits for a processor longer than it copies. Most files have one piece."""
NOT_FOUND = 404


@attrs.frozen
class TarMember:
    """One member, and the first piece of a file."""

    info: tarfile.TarInfo
    begin: bytes = b""
    rest: tarfile.ExFileObject | None = None
    """What follows the first piece; None when nothing does."""


@attrs.define
class OpenTar:
    """Used by one reader. When that has got the last piece of a file, the next member is read while it stores it."""

    _tar: TarStream
    _connections: Connections
    _path: str
    _ahead: asyncio.Task[TarMember | None] | None = None

    async def next(self) -> TarMember | None:
        """Raises: FileNotFoundError, RunLost, TaskFailedInternally."""
        self._read_ahead()
        reading_ahead, self._ahead = self._ahead, None
        return await reading_ahead if reading_ahead else None

    async def contents(self, member: TarMember) -> AsyncIterator[bytes]:
        """Of the member that was returned last. Same errors as `next`."""
        piece, rest = member.begin, member.rest
        while rest and (following := await self._step(partial(_next_piece, rest))):
            yield piece
            piece = following
        self._read_ahead()
        if piece:
            yield piece

    async def end(self) -> None:
        if self._ahead:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)

    def _read_ahead(self) -> None:
        if self._ahead is None:
            self._ahead = asyncio.create_task(self._step(self._next_member))

    def _next_member(self) -> TarMember | None:
        info = self._tar.next()
        if info is None:
            return None
        if not info.isreg():
            return TarMember(info)
        contents = self._tar.extract(info)
        begin = _next_piece(contents)
        return TarMember(info, begin, contents if len(begin) < info.size else None)

    async def _step(self, work: Callable[[], T]) -> T:
        return await reading(read_in_thread(self._connections, work), self._path)


def _next_piece(contents: tarfile.ExFileObject) -> bytes:
    """Past the buffer that tarfile has for small reads: for a piece of this size it costs two more copies, and most of
    the kernel's time for reading."""
    return contents.raw.read(PIECE) or b""


@asynccontextmanager
async def open_tar(client: DockerClient, container: str, path: str) -> AsyncIterator[OpenTar]:
    """A path of a container. Raises: FileNotFoundError, RunLost, TaskFailedInternally."""
    connections = Connections()
    try:
        opening = read_in_thread(
            connections, lambda: TarStream.open(client, connections, container, path), discard=TarStream.close
        )
        with await reading(opening, path) as tar:
            opened = OpenTar(tar, connections, path)
            try:
                yield opened
            finally:
                await opened.end()
    finally:
        connections.close()


async def reading(step: Awaitable[T], path: str) -> T:
    """The result of a step of reading this path, with its errors in the words of results."""
    try:
        return await step
    except DockerError as error:
        raise missing(error, path) from None
    except (tarfile.ReadError, Unavailable, OSError) as error:  # a stream that ends in the middle is one too
        raise RunLost(f"reading files out of the container failed: {error}") from error
    except tarfile.TarError as error:
        raise TaskFailedInternally(f"reading files out of the container failed: {error}") from error


def missing(error: DockerError, path: str) -> Exception:
    if error.status == NOT_FOUND:
        return FileNotFoundError(f"{path} is not in the container")
    if is_link_loop(error):
        return FileNotFoundError(f"{path} cannot be reached: there is a loop of links")
    return TaskFailedInternally(f"Docker cannot show {path}: {error}")
