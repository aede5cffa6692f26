"""The tests of each contract: a subclass defines a method or two."""

from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from own_host import FileHost

from taskrunner import ArtifactStore, CacheFolder, Caches, FolderStore, Host, MemoryQueue
from taskrunner.testing import (
    ArtifactStoreConformance,
    CacheFolderConformance,
    CachesConformance,
    FakeCacheFolder,
    FakeCaches,
    HostConformance,
    LogConformance,
    MemoryLog,
    QueueConformance,
    clock,
)


class TestHost(HostConformance):
    settle = 1.2  # a little longer than LOOK_EVERY

    @pytest.fixture(autouse=True)
    def _notice(self, tmp_path: Path) -> None:
        self.notice = tmp_path / "leave"

    def host(self) -> Host:
        return FileHost(self.notice)

    def notify(self, host: Host) -> None:  # noqa: ARG002  all hosts have one file
        self.notice.write_text("maintenance at 12:03")

    def notify_again(self, host: Host) -> None:  # noqa: ARG002  as above
        self.notice.write_text("now")

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        clock.run(main)


class TestQueue(QueueConformance):
    def setup_method(self) -> None:
        self.queue = MemoryQueue()

    def worker(self, worker_id: str) -> MemoryQueue:
        return self.queue.join(worker_id)

    def submitter(self) -> MemoryQueue:
        return self.queue.join("")

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        clock.run(main)  # this queue has no process, file or socket, so its time can be virtual


class TestStore(ArtifactStoreConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "store"

    def store(self) -> ArtifactStore:
        return FolderStore(self.folder)


class TestLog(LogConformance[MemoryLog]):
    def log(self, folder: Path) -> MemoryLog:  # noqa: ARG002  this log keeps nothing on disk
        return MemoryLog()

    def contents(self, log: MemoryLog) -> bytes:
        log.end()
        return log.data

    def pieces(self, log: MemoryLog) -> Sequence[tuple[str, bytes]]:
        log.end()
        return log.pieces


class TestCacheFolder(CacheFolderConformance):
    def cache_folder(self, name: str, path: Path) -> CacheFolder:
        return FakeCacheFolder(name, path)


class TestCaches(CachesConformance):
    def caches(self, home: Path) -> Caches:
        return FakeCaches(home)
