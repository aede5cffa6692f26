"""Files out of a container, running or ended: Docker sends a tar stream, which is read as it comes."""

from __future__ import annotations

import base64
import json
import posixpath
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import attrs

from taskrunner.connections import Connections
from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.results import READ_SIZE, Entry
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.api.tar import TarStream, read_in_thread

T = TypeVar("T")

_NOT_FOUND = 404
_GO_DIR, _GO_LINK = 1 << 31, 1 << 27
_GO_SPECIAL = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19
"""Bits of Go's `os.FileMode`, Docker's type of a path: folder, link; device, pipe, socket and the like."""


@attrs.frozen
class _Stat:
    name: str
    size: int
    mode: int
    link: str
    """The end of a link, absolute in the container."""


@attrs.define
class ContainerFiles:
    """The files of one container.

    A relative path starts at the container's working folder, and no link on the way may lead out of that; an absolute
    path may lead anywhere in the container, out of which nothing leads.
    """

    client: DockerClient
    container: str
    working_dir: str
    log: Log
    _inner: str = ""
    """The real name of the working folder, after it was looked up."""

    async def file(self, path: str) -> Entry:
        """As `Results.archive_file`."""
        found, stat = await self._resolve(path)
        if stat.mode & _GO_DIR:
            raise IsADirectoryError(f"{path} is a folder")
        if stat.mode & _GO_SPECIAL:
            raise FileNotFoundError(f"{path} is a device, a pipe or a socket")
        return Entry(posixpath.basename(path), stat.size, lambda: self._contents(found))

    async def folder(self, path: str) -> AsyncIterator[Entry]:
        """As `Results.archive_folder`."""
        found, stat = await self._resolve(path)
        if not stat.mode & _GO_DIR:
            raise NotADirectoryError(f"{path} is no folder")
        async with self._open(f"{found}/.") as opened:
            while member := await opened.step(opened.tar.next):
                entry = await self._entry(opened, member, base=await self._base(path), folder=found)
                if entry is not None:
                    yield entry

    async def _entry(self, opened: _OpenTar, member: tarfile.TarInfo, *, base: str, folder: str) -> Entry | None:
        name = posixpath.normpath(member.name)
        if member.isreg():
            return Entry(name, member.size, lambda: opened.contents(member))
        if member.islnk() or member.issym():
            return await self._linked(name, posixpath.join(folder, name), base)
        return None

    async def _linked(self, name: str, path: str, base: str) -> Entry | None:
        """A link within a folder, as the file that it leads to: the tar stream has no contents for it."""
        try:
            found, stat = await self._walk(path, base)
        except PermissionError as error:
            self.log.say(f"left out: {error}")
            return None
        except FileNotFoundError:
            return None
        if stat.mode & (_GO_DIR | _GO_SPECIAL):
            return None
        return Entry(name, stat.size, lambda: self._contents(found))

    # ---- where a path leads -----------------------------------------------------------------------------

    async def _base(self, path: str) -> str:
        if path.startswith("/"):
            return "/"
        if not self._inner:
            self._inner, _ = await self._walk(self.working_dir, "/")
        return self._inner

    async def _resolve(self, path: str) -> tuple[str, _Stat]:
        base = await self._base(path)
        return await self._walk("/" + posixpath.normpath(posixpath.join(base, path)).strip("/"), base)

    async def _walk(self, path: str, base: str) -> tuple[str, _Stat]:
        """Follows a path part by part, and checks each link on the way."""
        current = base
        stat = await self._stat(base)
        for part in _inner_parts(path, base):
            current = posixpath.join(current, part)
            stat = await self._stat(current)
            if stat.link:
                if not _is_within(stat.link, base):
                    raise PermissionError(f"{current} is a link to {stat.link}, which is outside of {base}")
                current, stat = stat.link, await self._stat(stat.link)
        return current, stat

    async def _stat(self, path: str) -> _Stat:
        query = {"path": path}
        try:
            async with await self.client.stream("HEAD", f"/containers/{self.container}/archive", query) as answer:
                document = json.loads(base64.b64decode(answer.headers["x-docker-container-path-stat"]))
        except DockerError as error:
            raise _missing(error, path) from None
        except Unavailable as error:
            raise TaskFailedInternally(f"Docker cannot show {path}: {error}") from error
        return _Stat(document["name"], document["size"], document["mode"], document["linkTarget"])

    # ---- the tar stream ---------------------------------------------------------------------------------

    async def _contents(self, path: str) -> AsyncIterator[bytes]:
        async with self._open(path) as opened:
            member = await opened.step(opened.tar.next)
            if member is not None:
                async for chunk in opened.contents(member):
                    yield chunk

    @asynccontextmanager
    async def _open(self, path: str) -> AsyncIterator[_OpenTar]:
        connections = Connections()
        try:
            opening = read_in_thread(
                connections,
                lambda: TarStream.open(self.client, connections, self.container, path),
                discard=TarStream.close,
            )
            with await _reading(opening, path) as tar:
                yield _OpenTar(tar, connections, path)
        finally:
            connections.close()


@attrs.frozen
class _OpenTar:
    """A tar stream that is read step by step, each in a thread."""

    tar: TarStream
    _connections: Connections
    _path: str

    async def step(self, work: Callable[[], T]) -> T:
        return await _reading(read_in_thread(self._connections, work), self._path)

    async def contents(self, member: tarfile.TarInfo) -> AsyncIterator[bytes]:
        contents = self.tar.extract(member)
        while contents is not None and (chunk := await self.step(partial(contents.read, READ_SIZE))):
            yield chunk


async def _reading(step: Awaitable[T], path: str) -> T:
    try:
        return await step
    except DockerError as error:
        raise _missing(error, path) from None
    except (tarfile.TarError, Unavailable, OSError) as error:
        raise TaskFailedInternally(f"reading files out of the container failed: {error}") from error


def _inner_parts(path: str, base: str) -> list[str]:
    if not _is_within(path, base):
        raise PermissionError(f"{path} is outside of {base}")
    inner = posixpath.relpath(path, base)
    return [] if inner == "." else inner.split("/")


def _is_within(path: str, base: str) -> bool:
    return posixpath.commonpath([path, base]) == base


def _missing(error: DockerError, path: str) -> Exception:
    if error.status == _NOT_FOUND:
        return FileNotFoundError(f"{path} is not in the container")
    return TaskFailedInternally(f"Docker cannot show {path}: {error}")
