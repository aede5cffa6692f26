"""Jobs that an orchestrator sends to a worker in a process of its own, `--queue orchestrator://...`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import examples.orchestrator
from examples.orchestrator import Orchestrator
from tests.e2e.conftest import PASSWORD
from tests.support.aws import FAKE_CREDENTIALS
from tests.support.e2e import LIMIT
from tests.support.ecr import REGION, ecr
from tests.support.gate import Gate
from tests.support.orchestrator_site import GIT_TOKEN, OrchestratorSite
from tests.support.queue_processes import soon
from tests.support.registry import Registry, registry


@pytest.fixture
def site(tmp_path: Path, base_image: str) -> Iterator[OrchestratorSite]:
    site = OrchestratorSite(tmp_path)
    yield site
    site.close()


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples.orchestrator, "AGAIN", 0.05)


def test_jobs_are_built_and_pushed_to_the_registry_of_the_account(site: OrchestratorSite, tmp_path: Path) -> None:
    """One that succeeds, and others that fail at each step before the push."""

    async def main(host: str) -> None:
        async with site.orchestrator() as orchestrator:
            response = await orchestrator.run(site.request())
            assert (response.success, response.error, response.jobId) == (True, "", "job 1")
            assert response.imageUrl == f"{host}/team/web:{site.token}"
            assert "built" in response.logs
            [worker] = orchestrator.workers.values()
            assert (worker.info.id, worker.info.ip, worker.info.region) == ("builder-1", "127.0.0.1", REGION)
            for fields, error in FAILURES:
                response = await orchestrator.run(site.request(**fields))
                assert (response.success, response.imageUrl) == (False, "")
                assert response.error.startswith(error)
                assert response.logs or "repoUrl" in fields
                assert GIT_TOKEN not in str(response)

    site.commit("RUN exit 3", path="broken/Dockerfile")
    with ecr(tmp_path / "registry") as (endpoint, running):
        site.configure_queue(f'[docker.registries.ecr]\necr = {{endpoint = "{endpoint}"}}')
        site.write_dotenv({"AWS_REGION": REGION, **FAKE_CREDENTIALS})
        worker = site.serve()
        asyncio.run(main(running.host))
        assert len(running.digests()) == 1
    worker.terminate()
    assert worker.wait() == 0
    assert GIT_TOKEN not in worker.output
    assert site.files_containing(GIT_TOKEN) == []


FAILURES: list[tuple[dict[str, str], str]] = [
    ({"branch": "nope"}, "Failed to clone the repo: "),
    ({"branch": "a\0b"}, "Failed to clone the repo: "),
    ({"githubToken": "wrong"}, "Failed to clone the repo: "),
    ({"repoUrl": "team/missing"}, "Failed to clone the repo: "),
    ({"contextDir": "broken"}, "Failed to build Docker image: build failed at "),
    ({"dockerfilePath": "no/Dockerfile"}, "Failed to build Docker image: "),
    ({"imageName": "Web"}, "Failed to build Docker image: build.tags[0]: 'Web' is no image name"),
]


def test_cancels_deaths_and_restarts_lose_no_job_and_leave_nothing(site: OrchestratorSite, tmp_path: Path) -> None:
    site.commit(f"RUN sleep {site.token}")

    async def begun(orchestrator: Orchestrator) -> asyncio.Task[Any]:
        running = asyncio.create_task(orchestrator.run(site.request()))
        await asyncio.to_thread(site.wait_for_sleep)
        return running

    async def main() -> None:
        async with site.orchestrator() as orchestrator:
            first = site.serve()
            cancelled = await begun(orchestrator)
            assert not [line for line in site.processes().values() if GIT_TOKEN in line]
            cancelled.cancel()
            await orchestrator.free_worker()
            assert await asyncio.to_thread(soon, lambda: not site.processes_of_sleep(), LIMIT)
            lost = await begun(orchestrator)
            first.kill()
            site.commit("RUN echo the second time")
            second = site.serve()
            response = await lost
            assert (response.error, "the second time" in response.logs) == ("", True)
        await asyncio.to_thread(second.wait_for_output, "has ended its connection; registering again")
        async with site.orchestrator() as restarted:
            assert (await restarted.run(site.request())).success

    with registry(tmp_path / "registry") as running:
        site.configure_queue("", registry=running.host)
        site.write_dotenv({})
        asyncio.run(main())
    site.workers[-1].terminate()
    assert site.workers[-1].wait() == 0
    assert site.files_containing(GIT_TOKEN) == []
    assert site.leftovers() == []


@pytest.fixture
def gated_registry(tmp_path: Path) -> Iterator[tuple[Gate, Registry]]:
    """A registry with a login, and the network before it, which stalls at the first layer of an image."""
    with registry(tmp_path / "registry", {"ann": PASSWORD}) as behind:
        host, _, port = behind.host.partition(":")
        with Gate((host, int(port)), tmp_path) as gate:
            gate.hold(rb"POST /v2/[^ ]+/blobs/uploads/")
            yield gate, behind


@attrs.frozen
class Stall:
    """A step of a job that does not go on until it is told to."""

    site: OrchestratorSite
    gate: Gate
    step: str

    def begin(self) -> None:
        if self.step != "push":
            self.gate.open()
        if self.step == "clone":
            self.site.git.stall_after = 0
        if self.step == "build":
            self.site.commit(f"RUN sleep {self.site.token}")

    def wait(self) -> None:
        if self.step == "clone":
            assert self.site.git.stalled.wait(LIMIT)
        elif self.step == "build":
            self.site.wait_for_sleep()
        else:
            self.gate.wait_until_held()

    def end(self) -> None:
        self.site.git.stall_after = None
        self.site.git.resume.set()
        self.gate.open()
        self.site.commit("RUN echo the second time")


@pytest.mark.parametrize("end", ["cancelled", "killed"])
@pytest.mark.parametrize("step", ["clone", "build", "push"])
def test_a_job_that_ends_in_the_middle_of_a_step_leaves_nothing(
    site: OrchestratorSite, gated_registry: tuple[Gate, Registry], step: str, end: str
) -> None:
    """The orchestrator cancels the call, or the worker is killed and the next one registers. Another job is done."""
    gate, behind = gated_registry
    stall = Stall(site, gate, step)

    def nothing_is_left() -> bool:
        """But what the next job has: the worker, and the mirror of the repository, whose half of a pack it removes."""
        return not [each for each in site.leftovers() if not each.startswith(("lock", "file"))]

    async def main() -> None:
        stall.begin()
        async with site.orchestrator() as orchestrator:
            worker = site.serve()
            running = asyncio.create_task(orchestrator.run(site.request()))
            await asyncio.to_thread(stall.wait)
            if end == "killed":
                await asyncio.to_thread(worker.kill)
            running.cancel()
            await asyncio.wait([running])
            if end == "killed":
                worker = site.serve()
            await orchestrator.free_worker()
            assert await asyncio.to_thread(soon, nothing_is_left, LIMIT), site.leftovers()
            stall.end()
            assert behind.digests() == set()
            response = await orchestrator.run(site.request())
            assert (response.error, "the second time" in response.logs) == ("", True)
            assert list(orchestrator.workers) == ["builder-1"]
            worker.terminate()
            assert await asyncio.to_thread(worker.wait) == 0

    login = f'[docker.registries."{gate.address}"]\nusername = "ann"\npassword = {{secret = "registry"}}\n'
    site.configure_queue(f'{login}[secrets.registry]\nenv = "REGISTRY_PASSWORD"', registry=gate.address)
    site.variables["REGISTRY_PASSWORD"] = PASSWORD
    site.write_dotenv({})
    asyncio.run(main())
    assert len(behind.digests()) == 1, "only the second job has pushed"
    assert site.leftovers() == []
    for secret in (GIT_TOKEN, PASSWORD):
        assert site.files_containing(secret) == []
        assert secret not in "".join(worker.output for worker in site.workers)
    assert not list(site.folder.glob("**/.docker"))
