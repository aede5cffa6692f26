"""The daemon's own part of a build with a large context: a sender that has everything ready.

The list of files is made and joined before the clock starts. A build sends it, and the files that the daemon requests.
"""

from __future__ import annotations

import secrets
import stat
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
from docker_sides import seconds_of

from taskrunner.testing import MemoryLog
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.buildkit import BuildRequest, build, session
from taskrunner_docker.buildkit.filesync import BATCH, ContextFiles, FileTransfer, read_option, stat_packet
from taskrunner_docker.buildkit.grpc import Headers
from taskrunner_docker.context.selection import ignore_rules, select_entries
from taskrunner_git import FileEntry
from taskrunner_source.folder_tree import FolderTree

TAG = "bench-context-floor"
Asked = tuple[Sequence[str], Sequence[str]]
"""The patterns of what is left out, and the paths that are followed."""


class ReadySender(ContextFiles):
    """Serves a folder by lists that are ready: those that were asked for before."""

    def __init__(self, folder: Path, client: DockerClient) -> None:
        super().__init__(FolderTree(folder), ignore_rules(client))
        self._client = client
        self._request = BuildRequest(FolderTree(folder), shared_key=secrets.token_hex(), tags=(TAG,))
        self._ready: dict[Asked, tuple[list[str | None], list[bytes]]] = {}
        self._texts: dict[str, tuple[bytes, int]] = {}
        """Contents and time of the files that were changed."""

    async def seconds(self) -> float:
        """Of one build."""
        session.ContextFiles = lambda *_: self  # type: ignore[misc, assignment]
        log = MemoryLog()
        return await seconds_of(build(self._client, self._request, log=log, progress=lambda _: None))

    def change(self, path: str, text: bytes) -> None:
        self._texts[path] = (text, time.time_ns())
        for asked in self._ready:
            self._prepare(asked)

    def open(self, headers: Headers) -> FileTransfer:
        asked = tuple(read_option(headers, "exclude-patterns")), tuple(sorted(read_option(headers, "followpaths")))
        if asked not in self._ready:
            self._prepare(asked)
        return _ReadyTransfer(self, *self._ready[asked])

    def packets(self, path: str, head: bytes) -> Iterator[bytearray]:
        if path not in self._texts:
            return super().packets(path, head)
        return ContextFiles(_OneFile(self._texts[path][0])).packets(path, head)

    def _prepare(self, asked: Asked) -> None:
        entries = [self._changed(entry) for entry in select_entries(self.entries(), *asked, self._rules)]
        data = b"".join(map(stat_packet, entries))
        paths = [entry.path if stat.S_ISREG(entry.mode) else None for entry in entries]
        self._ready[asked] = paths, [data[at : at + BATCH] for at in range(0, len(data), BATCH)]

    def _changed(self, entry: FileEntry) -> FileEntry:
        if entry.path not in self._texts:
            return entry
        text, changed = self._texts[entry.path]
        return attrs.evolve(entry, size=len(text), mtime_ns=changed)


class _ReadyTransfer(FileTransfer):
    def __init__(self, files: ContextFiles, paths: list[str | None], pieces: list[bytes]) -> None:
        super().__init__(files, ())
        self._paths = paths
        self._packets = self._send_ready(pieces)

    def _send_ready(self, pieces: list[bytes]) -> Iterator[bytes | bytearray]:
        yield from pieces
        yield from self._send(())


@attrs.frozen
class _OneFile:
    text: bytes

    def entries(self) -> Iterator[FileEntry]:
        return iter(())

    def read(self, path: str) -> Iterator[bytes]:  # noqa: ARG002  there is one
        yield self.text


@asynccontextmanager
async def ready_sender(folder: Path) -> AsyncIterator[ReadySender]:
    client = await DockerClient.connect("")
    try:
        yield ReadySender(folder, client)
    finally:
        client.dispose()
