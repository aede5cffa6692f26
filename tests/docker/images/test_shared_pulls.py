"""One pull of an image for all runs that wait for it; it ends with the last of them, and when nothing moves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from taskrunner.errors import Unavailable
from taskrunner.testing import MemoryLog
from taskrunner_docker import DockerPayload
from taskrunner_docker.images.shared_pulls import Begin, Follower, Report, Say, SharedPulls
from taskrunner_docker.registry import transfer
from tests.support.docker_bench import DockerBench
from tests.support.stalling_registry import stalling_registry

LIMIT = 20.0  # seconds for the daemon to close a connection


def test_one_pull_serves_all_and_ends_with_the_last_of_them(bench: DockerBench) -> None:
    async def scene() -> None:
        payload = DockerPayload(image=f"{stalling.host}/app:1")
        loads = [asyncio.create_task(bench.loaded(payload)) for _ in range(3)]
        assert await asyncio.to_thread(stalling.came.wait, LIMIT)
        while bench.log.text.count("which another run pulls already") < 2:  # noqa: ASYNC110  the log gives no notice
            await asyncio.sleep(0)
        await cancelled(loads[0], loads[1])
        assert not loads[2].done()
        await cancelled(loads[2])
        stalling.resume.set()
        assert await asyncio.to_thread(stalling.gone.wait, LIMIT), "Docker goes on with a pull that nobody waits for"

    with stalling_registry() as stalling:
        bench.run(scene)
        assert len(stalling.pulls) == 1


async def cancelled(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def test_a_pull_without_progress_is_ended_in_docker(bench: DockerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "IDLE", 3.0)  # Docker asks for the layer within it, also on a busy machine
    monkeypatch.setattr(transfer, "PAUSES", ())

    async def load() -> None:
        with pytest.raises(Unavailable, match="Docker has been silent for 3 seconds"):
            await bench.loaded(DockerPayload(image=f"{stalling.host}/app:1"))

    with stalling_registry() as stalling:
        bench.run(load)
        bench.run(load)
        assert len(stalling.pulls) == 2, "the second pull is none that waits for the first"
        stalling.resume.set()
        assert stalling.gone.wait(LIMIT), "Docker goes on with a pull that was given up"


def test_a_failure_reaches_all_and_the_next_pull_is_a_new_one(tmp_path: Path) -> None:
    begun = list[int]()
    log = MemoryLog()

    async def main() -> None:
        pulls, failing = SharedPulls(), asyncio.Event()

        async def begin(say: Say, progress: Report) -> None:
            begun.append(1)
            say("pulling")
            await failing.wait()
            raise Unavailable("down")

        follower = Follower(log.say, lambda _: None)
        waiting = [asyncio.create_task(pulls.pull("app", begin, follower)) for _ in range(2)]
        while "which another run pulls" not in log.text or "pulling" not in log.text:  # noqa: ASYNC110  as above
            await asyncio.sleep(0)
        failing.set()
        assert [type(each) for each in await asyncio.gather(*waiting, return_exceptions=True)] == [Unavailable] * 2
        with pytest.raises(Unavailable):
            await pulls.pull("app", begin, follower)

    asyncio.run(main())
    assert len(begun) == 2


def test_a_run_with_another_way_to_its_image_shares_no_pull_that_is_tried_again() -> None:
    begun = list[bool]()

    async def main() -> None:
        pulls, both = SharedPulls(), asyncio.Event()

        def begin(patient: bool) -> Begin:
            async def work(_say: Say, _progress: Report) -> None:
                begun.append(patient)
                if len(begun) == 2:
                    both.set()
                await both.wait()

            return work

        follower = Follower(lambda _: None, lambda _: None)
        await asyncio.gather(*(pulls.pull("app", begin(kind), follower, patient=kind) for kind in (True, False)))

    asyncio.run(main())
    assert begun == [True, False]
