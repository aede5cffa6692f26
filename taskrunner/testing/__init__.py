"""For tests of a worker, a platform, a host or a queue: fakes, a virtual clock, and the tests of each contract.

They need nothing but pytest. A worker whose platform follows a script for nine virtual hours::

    async def nine_hours(home: Path) -> None:
        queue, platform = MemoryQueue("me"), FakePlatform()
        await queue.submit(Submission("build", {"id": "build", "platform": "fake", "run_for": 32400, "exit_code": 1}))
        plugins = {"fake": platform.plugin()}
        async with services(Config(), home, queue=queue.join, plugins=plugins) as shared:
            await Worker(shared, FakeHost(), stop_when=StopCondition(tasks=1)).run()
        assert (await queue.status("build")).resolution.kind == "failed"
        assert platform.alive == []

    def test_nine_hours(tmp_path: Path) -> None:
        clock.run(nine_hours(tmp_path))

- Fakes that keep every contract: `FakePlatform`, scripted by its `FakePayload` · `FakeHost` · `FakeCaches` ·
  `MemoryLog` · `MemoryStore` (and, in `taskrunner.queues.memory`, `MemoryQueue`)
- Time: `clock.run(main())` runs hours in milliseconds
- Tests of the contracts, each a class that a test class extends by a method or two: `PlatformConformance`,
  `CacheFolderConformance`, `CachesConformance`, `HostConformance`, `LogConformance`, `QueueConformance`,
  `ArtifactStoreConformance`, `PushSourceConformance`
- Peers that push work: `ScriptedSource`, `ScriptedPeer`

A name is loaded when it is first used: the tests of contracts need pytest, the fakes do not.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskrunner.testing import clock as clock
    from taskrunner.testing.conformance.artifacts.conformance import (
        ArtifactStoreConformance as ArtifactStoreConformance,
    )
    from taskrunner.testing.conformance.caches import CacheFolderConformance as CacheFolderConformance
    from taskrunner.testing.conformance.caches import CachesConformance as CachesConformance
    from taskrunner.testing.conformance.host import HostConformance as HostConformance
    from taskrunner.testing.conformance.log import LogConformance as LogConformance
    from taskrunner.testing.conformance.platform.conformance import PlatformConformance as PlatformConformance
    from taskrunner.testing.conformance.platform.script import Script as Script
    from taskrunner.testing.conformance.push_source.client import PeerMessage as PeerMessage
    from taskrunner.testing.conformance.push_source.client import PushClient as PushClient
    from taskrunner.testing.conformance.push_source.conformance import PushSourceConformance as PushSourceConformance
    from taskrunner.testing.conformance.queue.conformance import QueueConformance as QueueConformance
    from taskrunner.testing.fakes.artifacts import MemoryStore as MemoryStore
    from taskrunner.testing.fakes.caches import FakeCacheFolder as FakeCacheFolder
    from taskrunner.testing.fakes.caches import FakeCaches as FakeCaches
    from taskrunner.testing.fakes.host import FakeHost as FakeHost
    from taskrunner.testing.fakes.log import MemoryLog as MemoryLog
    from taskrunner.testing.fakes.payload import FakePayload as FakePayload
    from taskrunner.testing.fakes.platform import FakePlatform as FakePlatform
    from taskrunner.testing.fakes.push_source import ScriptedPeer as ScriptedPeer
    from taskrunner.testing.fakes.push_source import ScriptedSource as ScriptedSource
    from taskrunner.testing.stepping import TableMachine as TableMachine

_HOMES = {
    "ArtifactStoreConformance": "conformance.artifacts.conformance",
    "CacheFolderConformance": "conformance.caches",
    "CachesConformance": "conformance.caches",
    "FakeCacheFolder": "fakes.caches",
    "FakeCaches": "fakes.caches",
    "FakeHost": "fakes.host",
    "FakePayload": "fakes.payload",
    "FakePlatform": "fakes.platform",
    "HostConformance": "conformance.host",
    "LogConformance": "conformance.log",
    "MemoryLog": "fakes.log",
    "MemoryStore": "fakes.artifacts",
    "PeerMessage": "conformance.push_source.client",
    "PlatformConformance": "conformance.platform.conformance",
    "PushClient": "conformance.push_source.client",
    "PushSourceConformance": "conformance.push_source.conformance",
    "QueueConformance": "conformance.queue.conformance",
    "Script": "conformance.platform.script",
    "ScriptedPeer": "fakes.push_source",
    "TableMachine": "stepping",
    "ScriptedSource": "fakes.push_source",
}
"""Public name to its module."""

if pytest := sys.modules.get("pytest"):  # so that a failed assert of the kit shows what was compared
    pytest.register_assert_rewrite(*(module.name for module in iter_modules(__path__, f"{__name__}.")))


if not TYPE_CHECKING:  # a type checker knows all names from the imports above

    def __getattr__(name: str) -> object:
        if name == "clock":
            return import_module(f"{__name__}.clock")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "ArtifactStoreConformance",
    "CacheFolderConformance",
    "CachesConformance",
    "FakeCacheFolder",
    "FakeCaches",
    "FakeHost",
    "FakePayload",
    "FakePlatform",
    "HostConformance",
    "LogConformance",
    "MemoryLog",
    "MemoryStore",
    "PeerMessage",
    "PlatformConformance",
    "PushClient",
    "PushSourceConformance",
    "QueueConformance",
    "Script",
    "ScriptedPeer",
    "ScriptedSource",
    "TableMachine",
    "clock",
]
