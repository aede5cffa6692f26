"""What every push source does with offers: each free slot is offered, and a refusal has its words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskrunner.errors import Reject
from taskrunner.model import Document, Health
from taskrunner.testing.conformance.push_source.client import PeerStory
from taskrunner.testing.conformance.push_source.harness import PushSourceKit, WorkerScene, push_scenario
from taskrunner.testing.fakes.results import FakeResults


class TakingChecks(PushSourceKit):
    """Which runs are taken, and what a peer is told whose run is not."""

    @push_scenario()
    async def test_a_dispatched_run_is_answered(self, scene: WorkerScene) -> None:
        story = await scene.story(run_for=0.01)
        assert story.answer.startswith("completed")

    @push_scenario()
    async def test_a_failure_is_answered_as_one(self, scene: WorkerScene) -> None:
        assert (await scene.story(exit_code=3)).answer.startswith("failed")
        assert (await scene.story("two", no_such_field=1)).answer.startswith("exception")

    @push_scenario(capacity=8)
    async def test_every_free_slot_takes_a_run(self, scene: WorkerScene) -> None:
        clients = [await scene.client() for _ in range(8)]
        document: Document = {"platform": "fake", "run_for": 3600, "max_run_time": 7200}
        await asyncio.gather(*(client.dispatch(f"t{n}", document) for n, client in enumerate(clients)))
        await scene.until(lambda: sum(trace[-1:] == ["wait"] for trace in _traces(scene, 8)) == 8)

    @push_scenario(capacity=2)
    async def test_a_run_is_taken_while_the_health_is_checked(self, scene: WorkerScene) -> None:
        assert (await scene.story()).answer
        checking, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(_: object) -> Health:
            checking.set()
            await go_on.wait()
            return Health(fit=True)

        for opened in scene.worker.services.platforms.open_ones.values():
            type(opened).health = slowly  # type: ignore[method-assign, assignment]
        first = await scene.dispatch("two", run_for=0.01)
        await checking.wait()
        second = await scene.dispatch("three", run_for=0.01)
        go_on.set()
        for client in (first, second):
            assert (await PeerStory().listen(client)).answer.startswith("completed")

    @push_scenario()
    async def test_a_slot_is_free_before_what_is_dead_has_been_removed(self, scene: WorkerScene) -> None:
        go_on, dispose = asyncio.Event(), FakeResults.dispose

        async def slowly(results: FakeResults) -> None:
            if results.run.key.task_id == "one":
                await go_on.wait()
            await dispose(results)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeResults, "dispose", slowly)
            assert (await scene.story()).answer.startswith("completed")
            assert (await scene.story("two")).answer.startswith("completed")
            assert "one" not in {run.task_id for run in scene.seen.endings}
            go_on.set()
            await scene.until(lambda: len(scene.seen.endings) == 2)

    # ---- refusals ---------------------------------------------------------------------------------------

    @push_scenario("refusals")
    async def test_a_full_worker_refuses(self, scene: WorkerScene) -> None:
        await scene.dispatch(run_for=3600, max_run_time=7200)
        await scene.until_state("running")
        assert (await scene.story("two")).refusal
        assert not scene.platform.trace("two")

    @push_scenario("refusals", capacity=2)
    async def test_a_task_that_runs_here_is_refused(self, scene: WorkerScene) -> None:
        await scene.dispatch(run_for=3600, max_run_time=7200)
        await scene.until_state("running")
        assert (await scene.story()).refusal
        assert len(scene.platform.backend.runs) == 1

    @push_scenario("refusals", capacity=3)
    async def test_an_unfit_worker_refuses_with_the_reason(self, scene: WorkerScene) -> None:
        assert (await scene.story()).answer
        scene.platform.current_health = Health(fit=False, why="the disk is on fire")
        assert (await scene.story("two")).answer  # it had been taken before the health was checked
        await scene.until(lambda: scene.worker.load.pause)
        assert "the disk is on fire" in (await scene.story("three")).refusal

    @push_scenario("refusals", capacity=2)
    async def test_a_worker_that_is_stopping_refuses_with_the_reason(self, scene: WorkerScene) -> None:
        running = await scene.dispatch(run_for=0.5)
        await scene.until_state("running")
        scene.worker.shutdown(immediate=False, why="the machine is sold")
        assert "the machine is sold" in (await scene.story("two")).refusal
        assert (await PeerStory().listen(running)).answer.startswith("completed")

    @push_scenario("refusals")
    async def test_a_rejected_run_is_refused_with_the_words(self, scene: WorkerScene) -> None:
        scene.platform.engine_error = Reject(60.0, "there is no Xcode 27 here")
        assert "there is no Xcode 27 here" in (await scene.story()).refusal
        scene.platform.engine_error = None
        assert (await scene.story("two")).answer.startswith("completed")

    @push_scenario("refusals")
    async def test_a_run_that_is_stopped_before_its_command_is_refused(self, scene: WorkerScene) -> None:
        client = await scene.dispatch(load_for=3600)
        await scene.until_state("loading")
        scene.worker.shutdown(immediate=True, why="the machine is sold")
        assert "the machine is sold" in (await PeerStory().listen(client)).refusal

    @push_scenario()
    async def test_a_run_that_is_interrupted_is_answered(self, scene: WorkerScene) -> None:
        client = await scene.dispatch(run_for=3600, max_run_time=7200)
        await scene.until_state("running")
        scene.worker.shutdown(immediate=True, why="the machine is sold")
        assert (await PeerStory().listen(client)).answer.startswith("exception")


def _traces(scene: WorkerScene, number: int) -> list[list[Any]]:
    return [scene.platform.trace(run.key.task_id, run.key.run_id) for run in scene.platform.backend.runs[:number]]


__all__ = ["TakingChecks"]
