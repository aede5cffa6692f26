"""Faults at random: at the end every task has ended once, every log is complete, and nothing is left.

For a long run: `TASKRUNNER_TEST_FAULTS=600 pytest -s -o faulthandler_timeout=0 tests/e2e/test_faults.py`, in seconds.
Its seed is random; one that was printed is repeated by TASKRUNNER_TEST_SEED.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from taskrunner.log.spool import is_finished
from taskrunner.model import RETRIED
from taskrunner.state.leftovers import leftovers
from taskrunner.state.run_folder import RunFolder, known_runs
from tests.support.docker_proxy import docker_proxy
from tests.support.e2e import Site
from tests.support.faults import Faults, small_disk
from tests.support.githttp import GitServer

SECONDS = float(os.environ.get("TASKRUNNER_TEST_FAULTS", "5"))
SHORT = "14797"
"""The seed of a short run: in 5 seconds it kills, stops and cancels; answers of Docker and its connections end."""
DISK = 32 << 20
RUN_AGAIN = RETRIED | {"claim-canceled"}
"""The worker was stopped while it claimed: the queue releases such a run, which costs no retry."""
AT_A_TIME = 6
"""Tasks that have not ended."""


@pytest.fixture
def small_home(site: Site) -> Iterator[None]:
    site.home.mkdir(mode=0o700)
    subprocess.run(small_disk(site.home, DISK), check=True)
    try:
        yield
    finally:
        for worker in site.workers:
            worker.close()
        subprocess.run(["umount", "--lazy", site.home], check=True)


@pytest.mark.limit(SECONDS + 300)
@pytest.mark.usefixtures("small_home")
def test_faults_at_random_lose_no_task_and_leave_nothing(site: Site, git: GitServer) -> None:
    given = os.environ.get("TASKRUNNER_TEST_SEED", "" if "TASKRUNNER_TEST_FAULTS" in os.environ else SHORT)
    seed = int(given or secrets.randbelow(1 << 32))
    print(f"TASKRUNNER_TEST_SEED={seed}")  # noqa: T201  with -s, or when the test fails
    tasks = Tasks(site, git.url("web"), Random(seed))  # noqa: S311  no secret
    site.configure("lease = 4.0\nmin_free_disk = 1048576\n")
    site.variables["TASKRUNNER_QUEUE"] = f"sqlite://{site.folder}/queue.db"

    async def go_on() -> Faults:
        async with docker_proxy(site.folder / "docker.sock") as proxy:
            site.variables["DOCKER_HOST"] = f"unix://{site.folder}/docker.sock"
            faults = Faults(site, proxy, Random(seed), lambda: tasks.alive)  # noqa: S311  as above
            await faults.go_on(SECONDS, 2, tasks.submit)
            for worker in faults.workers:
                worker.terminate()
            for worker in faults.workers:
                await asyncio.to_thread(worker.wait)
        return faults

    faults = asyncio.run(go_on())
    del site.variables["DOCKER_HOST"]
    last = site.run_worker("--capacity", "2")
    endings = tasks.endings()
    ended = Counter(ending for runs in endings.values() for ending in runs)
    print(f"{len(tasks.ids)} tasks; runs: {dict(ended)}; faults: {dict(faults.count)}")  # noqa: T201  as above
    problems = [
        *tasks.problems(endings),
        *tasks.failures(faults.canceled),
        *site.leftovers(),
        *map(str, leftovers(site.home)),
    ]
    print(*problems, sep="\n")  # noqa: T201  as above
    assert problems == [], f"seed {seed}: {last.output}"


class Tasks:
    """Tasks of all kinds, of which some are not over at any time."""

    def __init__(self, site: Site, repository: str, random: Random) -> None:
        self.site, self._repository, self._random = site, repository, random
        self.ids: list[str] = []
        self.alive: list[str] = []
        """Those that had not ended at the last look."""

    def submit(self) -> None:
        """Adds some, unless there are enough."""
        self.alive = [task for task in self.alive if self.site.status(task).state != "resolved"]
        for _ in range(AT_A_TIME - len(self.alive)):
            document = self._random.choice([self._process, self._container, self._build])()
            task = f"t{self.site.token}-{len(self.ids)}"
            self.site.submit({**document, "id": task, "retries": 49})
            self.ids.append(task)
            self.alive.append(task)

    def _process(self) -> dict[str, Any]:
        pause = self._random.uniform(0, 2)
        script = f"setsid sleep {self.site.token} & echo begins; sleep {pause:.2f}; echo made > made; echo ends"
        return self.site.process(script, artifacts=[{"name": "made", "path": "made"}])

    def _container(self) -> dict[str, Any]:
        return {**self._process(), "platform": "docker", "image": "taskrunner-base", "working_dir": "/w"}

    def _build(self) -> dict[str, Any]:
        return self.site.build(self._repository)

    def endings(self) -> dict[str, list[str]]:
        """How each run of each task ended."""
        return {task: self.site.resolutions(task) for task in self.ids}

    def failures(self, canceled: set[str]) -> Iterator[str]:
        """No fault of the machine ends a task that has retries left."""
        for task in self.ids:
            ending = self.site.status(task).resolution
            if ending and str(ending) not in {"completed", "exception (canceled)" if task in canceled else ""}:
                yield f"{task}: {ending}: {ending.message}"

    def problems(self, endings: dict[str, list[str]]) -> Iterator[str]:
        for task, runs in endings.items():
            if self.site.status(task).state != "resolved":
                yield f"{task} has not ended: {runs}"
            retried = [ending for ending in runs[:-1] if not any(reason in ending for reason in RUN_AGAIN)]
            if retried:
                yield f"{task} went on after it had ended: {runs}"
        for run in known_runs(self.site.home):
            folder = RunFolder(self.site.home, run)
            if not is_finished(folder.log):
                yield f"the log of {run} has no end"
            if self.site.states(run.task_id, run.run_id)[-1:] != ["resolved"]:
                yield f"the journal of {run} has no end"
        yield from self._missing_logs(endings)

    def _missing_logs(self, endings: dict[str, list[str]]) -> Iterator[str]:
        """Of a few tasks, since each look is a process."""
        completed = [task for task, runs in endings.items() if "completed" in runs[-1:]]
        for task in completed[-5:]:
            stored = self.site.command("logs", task).everything
            if "[taskrunner] completed" not in stored:
                yield f"the log of {task} is not kept whole: {stored[-200:]}"
