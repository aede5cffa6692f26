"""Files out of a container, running or ended: Docker sends a tar stream, which is read as it comes."""

from __future__ import annotations

import base64
import json
import posixpath
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import attrs

from taskrunner.blocking import DaemonExecutor
from taskrunner.errors import RunLost, Unavailable
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.results import Entry
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.container.folder_stream import FolderStream
from taskrunner_docker.container.open_tar import NOT_FOUND, OpenTar, missing, open_tar, whole_tar

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
    _reader: DaemonExecutor = attrs.field(init=False, factory=lambda: DaemonExecutor("container files", size=1))
    """Reads the streams: what is read ahead comes in its order."""

    async def file(self, path: str) -> Entry:
        """As `Results.archive_file`."""
        found, stat = await self._resolve(path)
        if stat.mode & _GO_DIR:
            raise IsADirectoryError(f"{path} is a folder")
        if stat.mode & _GO_SPECIAL:
            raise FileNotFoundError(f"{path} is a device, a pipe or a socket")
        return Entry(posixpath.basename(path), stat.size, lambda: self._contents(found))

    async def folder(self, path: str) -> AsyncIterator[Entry]:
        """As `Results.archive_folder`. What is behind a link comes last: until a tar is read to its end, Docker answers
        nothing else about its container."""
        found, stat = await self._resolve(path)
        if not stat.mode & _GO_DIR:
            raise NotADirectoryError(f"{path} is no folder")
        links = list[str]()
        async with FolderStream(partial(self._open, f"{found}/.")) as stream:
            while member := await stream.next():
                name = posixpath.normpath(member.info.name)
                if member.info.isreg():
                    again = partial(self._contents, posixpath.join(found, name))
                    yield Entry(name, member.info.size, stream.reads(member, again))
                elif member.info.islnk() or member.info.issym():
                    links.append(name)
        base = await self._base(path)
        for name in links:
            if entry := await self._linked(name, posixpath.join(found, name), base):
                yield entry

    async def archive(self, path: str) -> Entry:
        """As `Results.archive`: Docker's own tar, as it comes."""
        found, stat = await self._resolve(path)
        if not stat.mode & _GO_DIR:
            raise NotADirectoryError(f"{path} is no folder")
        return Entry(posixpath.basename(found), None, lambda: self._tar(f"{found}/."))

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
        try:
            document = await self._ask("HEAD", path)
        except DockerError as error:
            raise missing(await self._with_reason(error, path), path) from None
        except Unavailable as error:
            raise RunLost(f"Docker cannot show {path}: {error}") from error
        return _Stat(document["name"], document["size"], document["mode"], document["linkTarget"])

    async def _ask(self, method: str, path: str) -> Any:
        async with await self.client.stream(method, f"/containers/{self.container}/archive", {"path": path}) as answer:
            return json.loads(base64.b64decode(answer.headers["x-docker-container-path-stat"]))

    async def _with_reason(self, error: DockerError, path: str) -> DockerError:
        """The same error with its text: an answer to HEAD has none."""
        if error.status == NOT_FOUND:
            return error
        try:
            await self._ask("GET", path)
        except DockerError as told:
            return told
        return error

    # ---- the tar stream ---------------------------------------------------------------------------------

    async def _contents(self, path: str) -> AsyncIterator[bytes]:
        async with self._open(path) as opened:
            if member := await opened.next():
                async for chunk in opened.contents(member):
                    yield chunk

    def _tar(self, path: str) -> AsyncIterator[bytes]:
        return whole_tar(self.client, self.container, path, self._reader)

    def _open(self, path: str) -> AbstractAsyncContextManager[OpenTar]:
        return open_tar(self.client, self.container, path, self._reader)


def _inner_parts(path: str, base: str) -> list[str]:
    if not _is_within(path, base):
        raise PermissionError(f"{path} is outside of {base}")
    inner = posixpath.relpath(path, base)
    return [] if inner == "." else inner.split("/")


def _is_within(path: str, base: str) -> bool:
    return posixpath.commonpath([path, base]) == base
