"""The log, the caches and the host that a worker uses by default keep the contracts that the fakes keep."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from taskrunner.caches.folder_caches import FolderCaches
from taskrunner.files.plain_folder import PlainFolder
from taskrunner.interfaces.caches import CacheFolder, Caches
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.log import index_of
from taskrunner.log.log_index import read_index
from taskrunner.log.spool import Spool
from taskrunner.model import COMPLETED
from taskrunner.testing import (
    CacheFolderConformance,
    CachesConformance,
    FakeCacheFolder,
    HostConformance,
    LogConformance,
)
from taskrunner_standalone import StandaloneHost


class TestSpool(LogConformance[Spool]):
    def log(self, folder: Path) -> Spool:
        return Spool(folder / "log")

    def contents(self, log: Spool) -> bytes:
        log.finish(COMPLETED, 0)
        return log.path.read_bytes()

    def pieces(self, log: Spool) -> Sequence[tuple[str, bytes]]:
        parts = read_index(index_of(log.path)).split(self.contents(log), 0)
        return [(mark.stream, data) for mark, data in parts if mark.stream]


class TestFolderCaches(CachesConformance):
    def caches(self, home: Path) -> Caches:
        return FolderCaches(home, FakeCacheFolder)


class TestPlainFolder(CacheFolderConformance):
    def cache_folder(self, name: str, path: Path) -> CacheFolder:
        return PlainFolder(name, path)


class TestStandaloneHost(HostConformance):
    @pytest.fixture(autouse=True)
    def _handlers(self) -> Iterator[None]:
        """A test may end before the host has restored them."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = [signal.getsignal(number) for number in numbers]
        yield
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

    def host(self) -> Host:
        host = StandaloneHost()
        host.listen()
        return host

    def notify(self, host: Host) -> None:
        signal.raise_signal(signal.SIGTERM)
