"""What every push source tells its peers: states, log, artifacts and answer, in their order and whole."""

from __future__ import annotations

import asyncio

from taskrunner.testing.conformance.comparison import assert_same
from taskrunner.testing.conformance.push_source.client import PeerStory
from taskrunner.testing.conformance.push_source.harness import PushSourceKit, WorkerScene, push_scenario


class TellingChecks(PushSourceKit):
    """What reaches a peer, also a slow one."""

    @push_scenario("states")
    async def test_the_states_of_a_run_are_told(self, scene: WorkerScene) -> None:
        story = await scene.story(run_for=0.01)
        assert len(story.states) >= 2, "a run that begins and one that ends are different"
        assert story.states == list(dict.fromkeys(story.states)), "a state is told once"
        assert story.kinds[0] == "state"

    @push_scenario("progress")
    async def test_the_progress_of_a_step_is_told(self, scene: WorkerScene) -> None:
        assert "load" in (await scene.story(load_for=0.5)).steps

    @push_scenario("log")
    async def test_the_log_comes_to_its_last_line_and_before_the_answer(self, scene: WorkerScene) -> None:
        story = await scene.story(log="hello\n")
        run = await scene.until_over()
        assert b"hello\n" in story.log
        assert_same(story.log, scene.spool(run))

    @push_scenario("log", "artifacts")
    async def test_artifacts_come_after_the_log_and_before_the_answer(self, scene: WorkerScene) -> None:
        files, artifacts = {"report.xml": "<x/>"}, [{"name": "report.xml", "path": "report.xml"}]
        story = await scene.story(files=files, artifacts=artifacts)
        assert [kind for kind in story.kinds if kind != "state"][-3:] == ["log", "artifact", "answer"]
        assert story.artifacts["report.xml"] == b"<x/>"

    @push_scenario("artifacts")
    async def test_artifacts_and_log_are_in_the_own_store_as_well(self, scene: WorkerScene) -> None:
        files = {"report.xml": "<x/>"}
        story = await scene.story(files=files, artifacts=[{"name": "report.xml", "path": "report.xml"}])
        run = await scene.until_over()
        assert scene.store.bodies[run, "report.xml"] == story.artifacts["report.xml"] == b"<x/>"
        assert_same(scene.store.log(run).encode(), scene.spool(run))

    @push_scenario("log")
    async def test_a_slow_peer_gets_the_whole_log_and_holds_up_nothing(self, scene: WorkerScene) -> None:
        """While it reads nothing, the command runs to its end, and its slot is free for another run."""
        client = await scene.dispatch_long_log()
        run = await scene.until_state("uploading")
        assert (await scene.story("two")).answer.startswith("completed")
        story = await PeerStory().listen(client)
        assert story.answer.startswith("completed")
        assert_same(story.log, scene.spool(run))

    @push_scenario("log")
    async def test_a_peer_that_reads_a_little_is_not_given_up(self, scene: WorkerScene) -> None:
        """It pauses again and again, for longer than a peer may pause altogether, and each time for less."""
        client = await scene.dispatch_long_log()
        run = await scene.until_state("uploading")
        story, half = PeerStory(), self.patience / 2
        for _ in range(4):
            await asyncio.sleep(half)
            read = len(story.log)
            while story.end is None and len(story.log) < read + self.long_log // 5:
                story.add(await client.receive())
        await story.listen(client)
        assert_same(story.log, scene.spool(run))

    @push_scenario("log", "cancel")
    async def test_a_canceled_run_is_answered_after_its_log(self, scene: WorkerScene) -> None:
        client = await scene.dispatch(log="hello\n", run_for=3600, max_run_time=7200)
        run = await scene.until_state("running")
        await client.cancel()
        story = await PeerStory().listen(client)
        assert story.answer.startswith("exception")
        assert story.kinds[-2:] == ["log", "answer"]
        assert_same(story.log, scene.spool(run))
        assert scene.events(run)[-2:] != ["reclaim_failed", "cleaned"]


__all__ = ["TellingChecks"]
