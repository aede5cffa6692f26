"""A tar stream out of a container that is read member by member, in a thread that is ahead of its reader."""

from __future__ import annotations

import tarfile
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from taskrunner.connections import Connections
from taskrunner.errors import RunLost, TaskFailedInternally, Unavailable
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError, is_link_loop, is_wrong_path
from taskrunner_docker.api.exchange import Exchange
from taskrunner_docker.api.tar import TarStream, ask_for_tar, read_in_thread
from taskrunner_docker.container.read_ahead import ReadAhead
from taskrunner_docker.container.tar_end import TarEnd
from taskrunner_docker.container.tar_parts import PIECE, Part, TarMember, TarParts

T = TypeVar("T")

NOT_FOUND = 404


class OpenTar:
    """Used by one reader."""

    def __init__(self, ahead: ReadAhead[list[Part]]) -> None:
        self._ahead = ahead
        self._parts = deque[Part]()

    async def next(self) -> TarMember | None:
        """Passes over what is left of the member before. Raises: RunLost, TaskFailedInternally."""
        while part := await self._part():
            if isinstance(part, TarMember):
                return part
        return None

    async def contents(self, member: TarMember) -> AsyncIterator[bytes]:
        """Of the member that was returned last. Same errors as `next`."""
        if member.begin:
            yield member.begin
        left = member.info.size - len(member.begin)
        while left and isinstance(piece := await self._part(), bytes):
            left -= len(piece)
            yield piece

    async def _part(self) -> Part | None:
        if not self._parts:
            self._parts.extend(await self._ahead.next())
        return self._parts.popleft() if self._parts else None


@asynccontextmanager
async def open_tar(client: DockerClient, container: str, path: str, executor: Executor) -> AsyncIterator[OpenTar]:
    """A path of a container, read in the one thread of `executor`. Raises: FileNotFoundError, RunLost,
    TaskFailedInternally."""
    connections = Connections()
    try:
        opening = read_in_thread(
            connections, lambda: TarStream.open(client, connections, container, path), discard=TarStream.close
        )
        with await reading(opening, path) as tar:
            ahead = ReadAhead(_steps(TarParts(tar).batch, connections, executor, path))
            try:
                yield OpenTar(ahead)
            finally:
                await ahead.end()
    finally:
        connections.close()


async def whole_tar(client: DockerClient, container: str, path: str, executor: Executor) -> AsyncIterator[bytes]:
    """The pieces of the tar itself. Same errors as `open_tar`."""
    connections, end = Connections(), TarEnd()
    try:
        opening = read_in_thread(
            connections, lambda: ask_for_tar(client, connections, container, path), discard=Exchange.close
        )
        with await reading(opening, path) as answer:
            ahead = ReadAhead(_steps(partial(_next_piece, answer, end), connections, executor, path))
            try:
                while piece := await ahead.next():
                    yield piece
            finally:
                await ahead.end()
    finally:
        connections.close()


def _steps(
    work: Callable[[], T], connections: Connections, executor: Executor, path: str
) -> Callable[[], Coroutine[Any, Any, T]]:
    async def step() -> T:
        return await reading(read_in_thread(connections, work, executor=executor), path)

    return step


def _next_piece(answer: Exchange, end: TarEnd) -> bytes:
    piece = answer.read(PIECE)
    if piece:
        end.feed(piece)
    else:
        end.check()
    return piece


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
    if is_wrong_path(error):
        return FileNotFoundError(f"{path} leads through a file, or has a name that is too long")
    if is_link_loop(error):
        return FileNotFoundError(f"{path} cannot be reached: there is a loop of links")
    return TaskFailedInternally(f"Docker cannot show {path}: {error}")
