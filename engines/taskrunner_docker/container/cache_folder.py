"""Caches for containers: folders on this machine that are mounted into them."""

from __future__ import annotations

import logging
import os
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from taskrunner.errors import TaskrunnerError
from taskrunner.files.untrusted import remove_folder
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.results import READ_SIZE

if TYPE_CHECKING:
    from taskrunner_docker.api.client import Daemon

_log = logging.getLogger(__name__)


class DockerCacheFolder(CacheFolder):
    """A folder whose files belong to whomever a container runs as, most often root."""

    def __init__(self, name: str, path: Path, daemon: Daemon, labels: Mapping[str, str]) -> None:
        self.name, self.path = name, path
        self._daemon, self._labels = daemon, labels

    async def archive(self) -> AsyncIterator[bytes]:
        blocks = _tar_blocks(self.path)
        while block := await self._daemon.thread(next, blocks, b""):
            yield block

    async def size(self) -> int:
        return await self._daemon.thread(_size, self.path)

    async def delete(self) -> None:
        """Removes it; when this worker is not root, Docker helps to make the folders of others ours first."""
        from taskrunner_docker.api.async_stream import DockerError
        from taskrunner_docker.container.ownership import take_folders

        try:
            if await self._remove():
                await take_folders(self._daemon, self.path, self._labels)
        except (DockerError, TaskrunnerError, OSError) as error:
            _log.warning("the files of others in the cache %s stay: %s", self.name, error)
        for line in await self._remove():
            _log.warning("the cache %s could not be removed: %s", self.name, line)

    async def _remove(self) -> list[str]:
        return await self._daemon.thread(remove_folder, self.path)


def _size(path: Path) -> int:
    """Bytes on disk: sparse files count what they take, and a file with two names counts once."""
    taken = {}
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            try:
                stat = os.lstat(os.path.join(folder, name))  # noqa: PTH118  many files: twice as fast
            except FileNotFoundError:
                continue
            taken[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
    return sum(taken.values())


def _tar_blocks(root: Path) -> Iterator[bytes]:
    """A tar stream of a folder, a piece of a file at a time."""
    with tarfile.open(os.devnull, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            info = tar.gettarinfo(path, str(path.relative_to(root)))
            if info is not None:
                yield info.tobuf(tarfile.PAX_FORMAT)
                if info.isreg():
                    yield from _file_blocks(path, info.size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _file_blocks(path: Path, size: int) -> Iterator[bytes]:
    """Exactly as many bytes as its header has promised, up to the next full block."""
    left = size
    with path.open("rb") as file:
        while left and (chunk := file.read(min(READ_SIZE, left))):
            left -= len(chunk)
            yield chunk
    padding = left + -size % tarfile.BLOCKSIZE
    if padding:
        yield bytes(padding)
