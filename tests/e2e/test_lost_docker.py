"""Docker goes away under a run: the run is lost with it, and the task is run again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.docker_proxy import docker_proxy
from tests.support.e2e import Site
from tests.support.githttp import GitServer, make_repository


def lose(site: Site, document: Mapping[str, Any], times: int) -> list[str]:
    """Runs a task, and ends all connections to Docker so many times, each time when the task sleeps."""

    async def scene() -> None:
        socket = site.folder / "docker.sock"
        site.configure(f'[docker]\nhost = "unix://{socket}"\n')
        async with docker_proxy(socket) as proxy:
            worker = await asyncio.to_thread(site.worker, "--until-empty")
            for number in range(times):
                await asyncio.to_thread(site.wait_for_state, task, "running", number)
                await asyncio.to_thread(site.wait_for_sleep)
                await proxy.close_all()
                await asyncio.to_thread(site.wait_for_state, task, "resolved", number)
            assert await asyncio.to_thread(worker.wait) == 0, worker.output

    task = site.submit(document)
    asyncio.run(scene())
    return site.resolutions(task)


def test_a_container_that_is_lost_with_docker_is_run_again(site: Site) -> None:
    command = ["sh", "-c", f"test $RUN_ID != 0 || exec sleep {site.token}"]
    document = {**site.process(""), "platform": "docker", "image": "taskrunner-base", "command": command}
    assert lose(site, document, 1) == ["exception (worker-shutdown)", "completed"]
    assert site.leftovers() == []


def test_a_build_that_is_lost_with_docker_costs_a_retry(site: Site, git: GitServer, repositories: Path) -> None:
    name = f"lost-{site.token}"
    make_repository(repositories / name, {"Dockerfile": f"FROM taskrunner-base\nRUN sleep {site.token}\n"})
    assert lose(site, site.build(git.url(name), retries=1), 2) == ["exception (worker-shutdown)"] * 2
    assert site.leftovers() == []
