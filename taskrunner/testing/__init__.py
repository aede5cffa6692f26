"""What somebody needs who tests a worker, a platform, a host or a queue: fakes, a virtual clock, and the contracts.

Needs nothing but pytest. Everything is loaded when it is first asked for.

- Fakes that keep every contract: `FakePlatform`, scripted by its `FakePayload` · `FakeHost` · `FakeCaches` ·
  `MemoryLog` · `MemoryStore`
- Time: `clock.run(main())` runs hours in milliseconds
- Contracts, each a class that a test class of yours extends by a method or two: `PlatformConformance`,
  `CacheFolderConformance`, `CachesConformance`, `HostConformance`, `LogConformance`
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskrunner.testing import clock as clock
    from taskrunner.testing.caches import CacheFolderConformance as CacheFolderConformance
    from taskrunner.testing.caches import CachesConformance as CachesConformance
    from taskrunner.testing.fake_caches import FakeCacheFolder as FakeCacheFolder
    from taskrunner.testing.fake_caches import FakeCaches as FakeCaches
    from taskrunner.testing.fake_host import FakeHost as FakeHost
    from taskrunner.testing.fake_payload import FakePayload as FakePayload
    from taskrunner.testing.fake_platform import FakePlatform as FakePlatform
    from taskrunner.testing.host import HostConformance as HostConformance
    from taskrunner.testing.log import LogConformance as LogConformance
    from taskrunner.testing.memory import MemoryLog as MemoryLog
    from taskrunner.testing.memory import MemoryStore as MemoryStore
    from taskrunner.testing.platform import PlatformConformance as PlatformConformance
    from taskrunner.testing.script import Script as Script

_HOMES = {
    "CacheFolderConformance": "caches",
    "CachesConformance": "caches",
    "FakeCacheFolder": "fake_caches",
    "FakeCaches": "fake_caches",
    "FakeHost": "fake_host",
    "FakePayload": "fake_payload",
    "FakePlatform": "fake_platform",
    "HostConformance": "host",
    "LogConformance": "log",
    "MemoryLog": "memory",
    "MemoryStore": "memory",
    "PlatformConformance": "platform",
    "Script": "script",
}
"""Public name to the module that has it."""

if "pytest" in sys.modules:
    _TESTS = ["bench", "caches", "checks_engine", "checks_execution", "checks_results", "host", "log", "platform"]
    sys.modules["pytest"].register_assert_rewrite(*(f"{__name__}.{module}" for module in _TESTS))


def __getattr__(name: str) -> object:
    if name == "clock":
        return import_module(f"{__name__}.clock")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
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
    "PlatformConformance",
    "Script",
    "clock",
]
