"""What somebody needs who tests a worker, a platform, a host or a queue: fakes, a virtual clock, and the contracts.

Needs nothing but pytest. Everything is loaded when it is first asked for, so that a fake does not load the contracts.

Fakes that keep every contract: `FakePlatform`, scripted by its `FakePayload` · `FakeHost` · `FakeCaches` ·
`MemoryLog` · `MemoryStore`.

Time: `clock.run(main())` runs hours in milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskrunner.testing import clock as clock
    from taskrunner.testing.fake_caches import FakeCacheFolder as FakeCacheFolder
    from taskrunner.testing.fake_caches import FakeCaches as FakeCaches
    from taskrunner.testing.fake_host import FakeHost as FakeHost
    from taskrunner.testing.fake_payload import FakePayload as FakePayload
    from taskrunner.testing.fake_platform import FakePlatform as FakePlatform
    from taskrunner.testing.memory import MemoryLog as MemoryLog
    from taskrunner.testing.memory import MemoryStore as MemoryStore

_HOMES = {
    "FakeCacheFolder": "fake_caches",
    "FakeCaches": "fake_caches",
    "FakeHost": "fake_host",
    "FakePayload": "fake_payload",
    "FakePlatform": "fake_platform",
    "MemoryLog": "memory",
    "MemoryStore": "memory",
}
"""Public name to the module that has it."""


def __getattr__(name: str) -> object:
    if name == "clock":
        return import_module(f"{__name__}.clock")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "FakeCacheFolder",
    "FakeCaches",
    "FakeHost",
    "FakePayload",
    "FakePlatform",
    "MemoryLog",
    "MemoryStore",
    "clock",
]
