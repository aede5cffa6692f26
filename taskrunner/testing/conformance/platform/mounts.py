"""What every engine does with the content that a run mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskrunner.errors import MalformedPayload, NotSupported
from taskrunner.testing.conformance.platform.harness import PlatformHarness, PlatformKit, Trial, scenario
from taskrunner.testing.conformance.platform.script import Script


class MountChecks(PlatformKit):
    """Content belongs to the worker, which gives it to several runs: each reads it, and none changes it."""

    @scenario
    async def test_a_mount_that_is_left_out_is_not_supported(self, harness: PlatformHarness) -> None:
        if "mounts" in self.supports:
            return
        engine = await harness.trial().load(Script())
        with pytest.raises(NotSupported):
            await engine.attach_mount(_folder(harness), "data")

    @scenario
    async def test_a_run_reads_what_it_has_mounted(self, harness: PlatformHarness) -> None:
        if "mounts" not in self.supports:
            return
        folder = _folder(harness)
        for path in ("deep/er/inner", "deep/er/below/inner", "one"):
            trial = harness.trial()
            engine = await trial.load(Script(print_file=path))
            await engine.attach_mount(folder, "deep/er")
            await engine.attach_mount(folder / "inner", "one")
            await trial.start({})
            await trial.wait()
            assert "treasure" in trial.log.text, path

    @scenario
    async def test_a_run_does_not_change_what_it_has_mounted(self, harness: PlatformHarness) -> None:
        if "mounts" not in self.supports:
            return
        folder = _folder(harness)
        await self._spoil(harness, folder)
        assert _files(folder) == {"below/inner": "treasure", "inner": "treasure"}

    @scenario
    async def test_two_runs_have_the_same_content(self, harness: PlatformHarness) -> None:
        """What one of them writes, the other one does not read."""
        if "mounts" not in self.supports:
            return
        folder, trial = _folder(harness), harness.trial()
        engine = await trial.load(Script(print_file="data/inner"))
        await engine.attach_mount(folder, "data")
        await self._spoil(harness, folder)
        await trial.start({})
        await trial.wait()
        assert trial.log.text.endswith("treasure")

    @scenario
    async def test_a_mount_has_a_place_of_its_own(self, harness: PlatformHarness) -> None:
        if "mounts" not in self.supports:
            return
        engine, folder = await harness.trial().load(Script()), _folder(harness)
        await engine.attach_mount(folder, "deep/er")
        for target in ("deep/er", "deep", "deep/er/new", "../outside"):
            with pytest.raises(MalformedPayload):
                await engine.attach_mount(folder, target)

    @scenario
    async def test_a_mount_is_beside_the_caches(self, harness: PlatformHarness) -> None:
        if not {"caches", "mounts"} <= self.supports:
            return
        path = harness.home / "some.cache"
        path.mkdir()
        engine, folder = await harness.trial().load(Script()), _folder(harness)
        await engine.attach_cache(harness.platform.new_cache_folder("some", path), "cache")
        for target in ("cache", "cache/inner"):
            with pytest.raises(MalformedPayload):
                await engine.attach_mount(folder, target)
        assert list(path.iterdir()) == []

    @scenario
    async def test_a_mount_outlives_an_engine_that_is_discarded(self, harness: PlatformHarness) -> None:
        if "mounts" not in self.supports:
            return
        engine, folder = await harness.trial().load(Script()), _folder(harness)
        await engine.attach_mount(folder, "data")
        await engine.discard()
        assert _files(folder) == {"below/inner": "treasure", "inner": "treasure"}

    @scenario
    async def test_a_mount_outlives_a_run_that_is_aborted(self, harness: PlatformHarness) -> None:
        if "mounts" not in self.supports:
            return
        folder, trial = _folder(harness), harness.trial()
        engine = await trial.load(Script(sleeps=True))
        await engine.attach_mount(folder, "data")
        await trial.start({})
        await trial.abort()
        assert _files(folder) == {"below/inner": "treasure", "inner": "treasure"}

    async def _spoil(self, harness: PlatformHarness, folder: Path) -> Trial:
        """A whole run that writes to what it has mounted, or tries to."""
        trial = harness.trial()
        engine = await trial.load(Script(files={"data/inner": "spoilt", "data/new": "spoilt"}))
        await engine.attach_mount(folder, "data")
        await trial.start({})
        await trial.wait()
        await trial.release()
        return trial


def _folder(harness: PlatformHarness) -> Path:
    """Content with two files, as a worker gives it."""
    folder = harness.home / "content"
    if not folder.exists():
        (folder / "below").mkdir(parents=True)
        for path in ("inner", "below/inner"):
            (folder / path).write_text("treasure")
            (folder / path).chmod(0o444)
    return folder


def _files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


__all__ = ["MountChecks"]
