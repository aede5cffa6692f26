"""What every push source does with peers that go, hang or come back, and after a restart of the worker."""

from __future__ import annotations

from pathlib import Path

from taskrunner.testing.conformance.push_source.client import PeerStory
from taskrunner.testing.conformance.push_source.harness import LINE, PushSourceKit, WorkerScene, push_scenario


class PartingChecks(PushSourceKit):
    """A peer that is gone, one that hangs, one that takes over."""

    @push_scenario("cancel")
    async def test_a_canceled_run_is_killed_and_answered(self, scene: WorkerScene) -> None:
        client = await scene.dispatch(run_for=3600, max_run_time=7200)
        run = await scene.until_state("running")
        await client.cancel()
        assert (await PeerStory().listen(client)).answer.startswith("exception")
        assert "cancel" in scene.events(run)
        assert (await scene.story("two")).answer.startswith("completed")

    @push_scenario()
    async def test_a_disconnect_ends_a_run_that_is_not_kept(self, scene: WorkerScene) -> None:
        if "resume" in self.carries:
            return
        client = await scene.dispatch(run_for=3600, max_run_time=7200)
        run = await scene.until_state("running")
        await client.disconnect()
        await scene.until_over()
        assert "reclaim_failed" in scene.events(run)
        assert scene.seen.endings[run].reason == "claim-expired"
        assert (await scene.story("two")).answer.startswith("completed")

    @push_scenario("log")
    async def test_a_disconnect_before_everything_was_read_ends_the_run(self, scene: WorkerScene) -> None:
        """For a socket that is a broken connection, and not one that was closed."""
        if "resume" in self.carries:
            return
        client = await scene.dispatch(log=LINE * 2000, log_every=0.01, run_for=3600, max_run_time=7200)
        run = await scene.until_state("running")
        await scene.until(lambda: len(scene.spool(run)) > self.long_log)
        await client.disconnect()
        await scene.until_over()
        assert scene.seen.endings[run].reason == "claim-expired"

    @push_scenario("resume")
    async def test_a_run_that_is_kept_goes_on_and_is_told_to_the_next_peer(self, scene: WorkerScene) -> None:
        first = await scene.dispatch(run_for=0.5)
        run = await scene.until_state("running")
        await first.disconnect()
        second = await scene.client()
        await second.resume("one")
        story = await PeerStory().listen(second)
        assert story.answer.startswith("completed")
        assert "reclaim_failed" not in scene.events(run)
        if "states" in self.carries:
            assert story.kinds[0] == "state"

    @push_scenario("resume")
    async def test_the_answer_of_a_run_that_is_kept_waits_for_a_peer(self, scene: WorkerScene) -> None:
        first = await scene.dispatch(run_for=0.5)
        await scene.until_state("running")
        await first.disconnect()
        await scene.until_over()
        for _ in range(2):
            late = await scene.client()
            await late.resume("one")
            assert (await PeerStory().listen(late)).answer.startswith("completed")

    @push_scenario("log")
    async def test_a_peer_that_takes_nothing_is_given_up(self, scene: WorkerScene) -> None:
        """Neither its log nor its answer, and it does not hang up: the run ends as it has ended."""
        await scene.dispatch_long_log()
        run = await scene.until_over()
        assert str(scene.seen.endings[run]) == "completed"
        assert "of the log" in scene.notes(run), "all of it was taken: buffers hold as much as `long_log`"
        assert "has not taken the answer" in scene.notes(run)
        assert scene.platform.trace("one", run.run_id)[-1] == "dispose"

    def test_run_ids_never_repeat_after_a_restart(self, tmp_path: Path) -> None:
        async def main() -> None:
            runs = set()
            for _ in range(2):
                async with self.working(tmp_path) as scene:
                    assert (await scene.story()).answer.startswith("completed")
                    runs.add(await scene.until_over())
            assert len(runs) == 2

        self.bounded(main())


__all__ = ["PartingChecks"]
