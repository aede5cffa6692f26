from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from taskrunner.errors import NotSupported
from taskrunner.interfaces.platform import PlatformContext
from taskrunner.testing.conformance.platform.conformance import PlatformConformance
from taskrunner.testing.conformance.platform.harness import Option, PlatformHarness, scenario
from taskrunner.testing.conformance.platform.script import Script
from taskrunner_process import ProcessOptions, ProcessPayload, ProcessPlatform
from tests.process.process_bench import KINDS, groups_of, living_in


class OnOneKind(PlatformConformance):
    supports = frozenset[Option]({"archive", "caches", "exec", "mounts", "proxies", "stdin"})
    kind: ClassVar[str]
    home: Path

    async def open(self, context: PlatformContext) -> ProcessPlatform:
        self.home = context.home
        return ProcessPlatform(context, groups_of(self.kind, context.home, context.worker_id), None)

    def payload(self, script: Script) -> ProcessPayload:
        return ProcessPayload(("sh", "-c", script.shell))

    async def alive(self) -> list[str]:
        return [f"process {pid}" for pid in living_in(self.home)]

    @scenario
    async def test_a_cache_outlives_its_run(self, harness: PlatformHarness) -> None:
        """A link cannot prevent writing, so a read-only cache is refused, unlike in the kit."""
        path = harness.home / "kept.cache"
        path.mkdir()
        folder = harness.platform.new_cache_folder("kept", path)
        trial = harness.trial()
        for script in (Script(files={"cache/kept": "treasure"}), Script(print_file="cache/kept")):
            trial = harness.trial()
            engine = await trial.load(script)
            await engine.attach_cache(folder, "cache")
            await trial.start({})
            await trial.wait()
            await trial.release()
        assert "treasure" in trial.log.text
        with pytest.raises(NotSupported, match="docker platform"):
            await (await harness.trial().load(Script())).attach_cache(folder, "cache", read_only=True)


class TestTheDefaultKind(OnOneKind):
    async def open(self, context: PlatformContext) -> ProcessPlatform:
        self.home = context.home
        return await ProcessPlatform.open(ProcessOptions(), context)


if "cgroup-v1" in KINDS:

    class TestGroupsOfVersion1(OnOneKind):
        kind = "cgroup-v1"


class TestSubreaper(OnOneKind):
    kind = "subreaper"


class TestPortable(OnOneKind):
    kind = "portable"
