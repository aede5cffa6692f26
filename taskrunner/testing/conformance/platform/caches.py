"""What every engine does with the caches of a run."""

from __future__ import annotations

from contextlib import suppress

import pytest

from taskrunner.errors import MalformedPayload, NotSupported
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.testing.conformance.platform.harness import PlatformHarness, PlatformKit, Trial, scenario
from taskrunner.testing.conformance.platform.script import Script


class CacheChecks(PlatformKit):
    """A cache belongs to the worker: a run may fill it, and no step of the engine may remove it."""

    @scenario
    async def test_a_cache_outlives_its_run(self, harness: PlatformHarness) -> None:
        path = harness.home / "kept.cache"
        path.mkdir()
        if "caches" not in self.supports:
            with pytest.raises(NotSupported):
                harness.platform.new_cache_folder("kept", path)
            return
        folder = harness.platform.new_cache_folder("kept", path)
        await self._use(harness, folder, Script(files={"cache/kept": "treasure"}))
        trial = await self._use(harness, folder, Script(print_file="cache/kept"))
        assert "treasure" in trial.log.text

    @scenario
    async def test_a_read_only_cache_is_not_changed(self, harness: PlatformHarness) -> None:
        if "caches" not in self.supports:
            return
        lease = await harness.caches.exclusive("kept")
        folder = harness.platform.new_cache_folder("kept", lease.folder.path)
        await self._use(harness, folder, Script(files={"cache/kept": "treasure"}))
        spoiler = Script(files={"cache/kept": "spoilt"}, print_file="cache/kept")
        with suppress(NotSupported):  # which is correct: a cache that cannot be protected is refused
            trial = await self._use(harness, folder, spoiler, read_only=True)
            assert "treasure" in trial.log.text
        trial = await self._use(harness, folder, Script(print_file="cache/kept"))
        assert "spoilt" not in trial.log.text

    @scenario
    async def test_a_target_is_used_once_and_lies_inside(self, harness: PlatformHarness) -> None:
        if "caches" not in self.supports:
            return
        engine = await harness.trial().load(Script())
        folders = [await harness.caches.exclusive("some") for _ in range(3)]
        caches = [harness.platform.new_cache_folder("some", lease.folder.path) for lease in folders]
        await engine.attach_cache(caches[0], "cache")
        for cache, target in ((caches[1], "cache"), (caches[2], "../outside")):
            with pytest.raises(MalformedPayload):
                await engine.attach_cache(cache, target)

    @scenario
    async def test_a_cache_outlives_an_engine_that_is_discarded(self, harness: PlatformHarness) -> None:
        if "caches" not in self.supports:
            return
        folder = await self._filled(harness)
        engine = await harness.trial().load(Script())
        await engine.attach_cache(folder, "cache")
        await engine.discard()
        assert (folder.path / "kept").read_text() == "treasure"

    @scenario
    async def test_a_cache_outlives_a_run_that_is_aborted(self, harness: PlatformHarness) -> None:
        if "caches" not in self.supports:
            return
        folder = await self._filled(harness)
        trial = harness.trial()
        engine = await trial.load(Script(sleeps=True))
        await engine.attach_cache(folder, "cache")
        await trial.start({})
        await trial.abort()
        assert (folder.path / "kept").read_text() == "treasure"

    @scenario
    async def test_several_caches_have_places_of_their_own(self, harness: PlatformHarness) -> None:
        if "caches" not in self.supports:
            return
        folder, other = await self._filled(harness), harness.home / "other.cache"
        other.mkdir()
        trial = harness.trial()
        engine = await trial.load(Script(files={"deep/er/other": "new"}, print_file="cache/kept"))
        await engine.attach_cache(folder, "cache")
        await engine.attach_cache(harness.platform.new_cache_folder("other", other), "deep/er")
        await trial.start({})
        await trial.wait()
        assert "treasure" in trial.log.text
        await trial.release()
        assert (other / "other").read_text() == "new"

    async def _filled(self, harness: PlatformHarness) -> CacheFolder:
        """A cache with a file, as another worker has left it."""
        path = harness.home / "filled.cache"
        path.mkdir()
        harness.platform.new_cache_folder("filled", path)
        (path / "kept").write_text("treasure")
        folder = harness.platform.new_cache_folder("filled", path)
        assert (folder.name, folder.path) == ("filled", path)
        return folder

    async def _use(
        self, harness: PlatformHarness, folder: CacheFolder, script: Script, *, read_only: bool = False
    ) -> Trial:
        """A whole run, with a cache at `cache`."""
        trial = harness.trial()
        engine = await trial.load(script)
        await engine.attach_cache(folder, "cache", read_only=read_only)
        await trial.start({})
        await trial.wait()
        await trial.release()
        return trial


__all__ = ["CacheChecks"]
