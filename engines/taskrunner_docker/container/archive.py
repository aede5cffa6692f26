"""Files out of a container, running or ended: Docker hands them over as a tar stream, which is read as it comes."""

from __future__ import annotations

import base64
import http.client
import json
import posixpath
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, Any

import attrs

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.results import READ_SIZE, Entry
from taskrunner_docker.api.async_stream import DockerError
from taskrunner_docker.api.client import Daemon
from taskrunner_docker.api.tar import TarStream

_NOT_FOUND = 404
_GO_DIR, _GO_LINK = 1 << 31, 1 << 27
_GO_SPECIAL = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19
"""Bits of Go's `os.FileMode`, in which Docker tells what a path is: folder, link; device, pipe, socket and the like."""


@attrs.frozen
class _Stat:
    name: str
    size: int
    mode: int
    link: str
    """Where a link leads in the end, absolute in the container."""


@attrs.define
class ContainerFiles:
    """The files of one container.

    A relative path starts at the container's working folder, and no link on the way may lead out of that; an absolute
    path may lead anywhere in the container, out of which nothing leads.
    """

    daemon: Daemon
    container: str
    working_dir: str
    log: Log
    _inner: str = ""
    """The working folder by its real name, once it was looked up."""

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
        async with self._tar(f"{found}/.") as tar:
            while member := await self._step(_next, tar):
                entry = await self._entry(tar, member, base=await self._base(path), folder=found)
                if entry is not None:
                    yield entry

    async def _entry(self, tar: tarfile.TarFile, member: tarfile.TarInfo, *, base: str, folder: str) -> Entry | None:
        name = posixpath.normpath(member.name)
        if member.isreg():
            return Entry(name, member.size, lambda: self._extract(tar, member))
        if member.islnk() or member.issym():
            return await self._linked(name, posixpath.join(folder, name), base)
        return None

    async def _linked(self, name: str, path: str, base: str) -> Entry | None:
        """A link within a folder, as the file it leads to: the tar stream has no contents for it."""
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
        """Follows a path part by part, and looks at each link on the way."""
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
            async with await self.daemon.stream("HEAD", f"/containers/{self.container}/archive", query) as answer:
                document = json.loads(base64.b64decode(answer.headers["x-docker-container-path-stat"]))
        except DockerError as error:
            raise _missing(error, path) from None
        except Unavailable as error:
            raise TaskFailedInternally(f"Docker cannot show {path}: {error}") from error
        return _Stat(document["name"], document["size"], document["mode"], document["linkTarget"])

    # ---- the tar stream ---------------------------------------------------------------------------------

    async def _contents(self, path: str) -> AsyncIterator[bytes]:
        async with self._tar(path) as tar:
            member = await self._step(_next, tar)
            if member is not None:
                async for chunk in self._extract(tar, member):
                    yield chunk

    async def _extract(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> AsyncIterator[bytes]:
        contents: IO[bytes] | None = tar.extractfile(member)
        while contents is not None and (chunk := await self._step(contents.read, READ_SIZE)):
            yield chunk

    @asynccontextmanager
    async def _tar(self, path: str) -> AsyncIterator[tarfile.TarFile]:
        stream = await self._step(TarStream.open, self.daemon, self.container, path)
        try:
            yield stream.tar
        finally:
            stream.close()

    async def _step(self, function: Any, *args: object) -> Any:
        try:
            return await self.daemon.thread(function, *args)
        except FileNotFoundError:
            raise
        except (tarfile.TarError, http.client.HTTPException, OSError) as error:
            raise TaskFailedInternally(f"reading files out of the container failed: {error}") from error


def _next(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    """The next member; those before are forgotten, of which there may be a million."""
    member = tar.next()
    tar.members.clear()  # type: ignore[attr-defined]
    return member


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
