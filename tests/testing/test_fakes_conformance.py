"""The fakes keep the contracts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.caches import CacheFolder, Caches
from taskrunner.interfaces.host import Host
from taskrunner.testing.conformance.artifacts.conformance import ArtifactStoreConformance
from taskrunner.testing.conformance.caches import CacheFolderConformance, CachesConformance
from taskrunner.testing.conformance.host import HostConformance
from taskrunner.testing.conformance.log import LogConformance
from taskrunner.testing.fakes.artifacts import MemoryStore
from taskrunner.testing.fakes.caches import FakeCacheFolder, FakeCaches
from taskrunner.testing.fakes.host import FakeHost
from taskrunner.testing.fakes.log import MemoryLog


class TestFakeCacheFolder(CacheFolderConformance):
    def cache_folder(self, name: str, path: Path) -> CacheFolder:
        return FakeCacheFolder(name, path)


class TestFakeCaches(CachesConformance):
    def caches(self, home: Path) -> Caches:
        return FakeCaches(home)


class TestFakeHost(HostConformance):
    def host(self) -> Host:
        return FakeHost()

    def notify(self, host: Host) -> None:
        assert isinstance(host, FakeHost)
        host.leave()


class TestMemoryLog(LogConformance[MemoryLog]):
    def log(self, folder: Path) -> MemoryLog:
        return MemoryLog()

    def contents(self, log: MemoryLog) -> bytes:
        log.end()
        return log.data

    def pieces(self, log: MemoryLog) -> Sequence[tuple[str, bytes]]:
        log.end()
        return log.pieces


class TestMemoryStore(ArtifactStoreConformance):
    in_memory = True

    def setup_method(self) -> None:
        self.memory = MemoryStore()

    def store(self) -> ArtifactStore:
        return self.memory

    async def kept_bytes(self) -> int:
        return sum(map(len, self.memory.bodies.values()))
