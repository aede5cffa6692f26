"""What every engine does until its start."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from taskrunner.errors import MalformedPayload, NotSupported
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.testing.conformance.platform_harness import PlatformHarness, PlatformKit, Trial, scenario
from taskrunner.testing.conformance.script import Script


class EngineChecks(PlatformKit):
    """Loading, attaching, starting, discarding."""

    @scenario
    async def test_the_exit_code_is_reported(self, harness: PlatformHarness) -> None:
        for code in (0, 1, 77):
            assert (await harness.finished(Script(exit_code=code))).results.exit_code == code

    @scenario
    async def test_the_log_is_whole_and_in_order_at_the_end_of_wait(self, harness: PlatformHarness) -> None:
        lines = "".join(f"line {number}\n" for number in range(2000))
        trial = await harness.finished(Script(prints=lines))
        assert lines in trial.log.text

    @scenario
    async def test_the_environment_reaches_the_run(self, harness: PlatformHarness) -> None:
        trial = await harness.finished(Script(print_env=("GREETING",)), {"GREETING": "hello, 'you' $HOME"})
        assert "GREETING=hello, 'you' $HOME\n" in trial.log.text

    @scenario
    async def test_a_run_does_not_see_the_environment_of_another(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(print_env=("MINE",), prints="up\n", sleeps=True), {"MINE": "a secret"})
        await trial.log.until("up")
        other = await harness.finished(Script(print_env=("MINE",)))
        assert "MINE" not in other.log.text

    @scenario
    async def test_an_engine_before_load_is_discarded(self, harness: PlatformHarness) -> None:
        engine = await harness.trial().make()
        await engine.discard()
        await engine.discard()

    @scenario
    async def test_an_engine_after_load_is_discarded(self, harness: PlatformHarness) -> None:
        engine = await harness.trial().load(Script())
        await engine.discard()
        await engine.discard()

    @scenario
    async def test_a_load_that_is_cancelled_is_undone(self, harness: PlatformHarness) -> None:
        for turns in range(10):
            trial = harness.trial()
            loading = asyncio.create_task(trial.load(Script(files={"a": "b"})))
            for _ in range(turns):  # of the loop: each load is cancelled a little later
                await asyncio.sleep(0)
            loading.cancel()
            with suppress(asyncio.CancelledError):
                await loading
            await trial.release()

    @scenario
    async def test_two_runs_at_once_do_not_disturb_each_other(self, harness: PlatformHarness) -> None:
        scripts = [Script(prints=f"I am {n}\n", files={"who": str(n)}, exit_code=n) for n in range(3)]
        trials = await asyncio.gather(*map(harness.finished, scripts))
        for number, trial in enumerate(trials):
            assert trial.results.exit_code == number
            assert await trial.file("who") == str(number).encode()
            assert [f"I am {n}" in trial.log.text for n in range(3)] == [n == number for n in range(3)]

    @scenario
    async def test_without_an_input_the_standard_input_is_empty(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(print_stdin=True))
        with pytest.raises(NotSupported):
            _ = trial.execution.stdin
        assert (await trial.wait()).exit_code == 0

    @scenario
    async def test_an_input_stays_open_until_it_is_closed(self, harness: PlatformHarness) -> None:
        trial = harness.trial()
        await trial.load(Script(print_stdin=True))
        if "stdin" not in self.supports:
            with pytest.raises(NotSupported):
                await trial.start({}, stdin=True)
            return
        stdin = (await trial.start({}, stdin=True)).stdin
        await stdin.write(b"first, ")
        await stdin.write(b"second\n")
        await trial.log.until("first, second")
        await stdin.close()
        await stdin.close()
        assert (await trial.wait()).exit_code == 0
        with pytest.raises(BrokenPipeError):
            await stdin.write(b"no reader")

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
    async def test_an_attachment_that_is_left_out_is_not_supported(self, harness: PlatformHarness) -> None:
        engine = await harness.trial().load(Script())
        if "proxies" not in self.supports:
            with pytest.raises(NotSupported):
                await engine.attach_proxy("proxy", object())
        if "services" not in self.supports:
            with pytest.raises(NotSupported):
                await engine.attach_service("image", ["command"], {})


__all__ = ["EngineChecks"]
