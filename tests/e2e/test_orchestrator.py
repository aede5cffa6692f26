"""Jobs that an orchestrator sends to a worker in a process of its own, `--queue orchestrator://...`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import examples.orchestrator
from examples.orchestrator import Orchestrator
from tests.support.aws import FAKE_CREDENTIALS
from tests.support.e2e import LIMIT
from tests.support.ecr import REGION, ecr
from tests.support.orchestrator_site import GIT_TOKEN, OrchestratorSite
from tests.support.queue_processes import soon
from tests.support.registry import registry


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
