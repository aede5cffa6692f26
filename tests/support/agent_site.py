"""A home whose worker is an agent, in a process of its own, and callers of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

from examples.fastlane_server import Agent, Build
from tests.support.e2e import LIMIT, Site, WorkerProcess
from tests.support.githttp import GitServer, make_repository
from tests.support.ports import free_port


@attrs.define(eq=False)
class AgentSite(Site):
    """Its repository has one commit, and is served over HTTP."""

    port: int = attrs.field(init=False, factory=free_port)
    sha: str = attrs.field(init=False)
    git: GitServer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.sha = make_repository(self.folder / "git" / "web", {"page.txt": "A page.\n"})
        self.git = GitServer(self.folder / "git")
        self.git.__enter__()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def serve(self, *arguments: str) -> WorkerProcess:
        worker = self.worker("--queue", f"agent://{self.address}", *arguments)
        asyncio.run(self.until_it_listens())
        return worker

    async def until_it_listens(self) -> None:
        async with asyncio.timeout(LIMIT), self.agent() as agent:
            await agent.channel.channel_ready()

    def build(self, *command: str, **env: str) -> Build:  # type: ignore[override]  # not one of an image
        known = {"GIT_URL": self.git.url("web"), "GIT_SHA": self.sha, "JOB_NAME": "web", "BUILD_NUMBER": "7"}
        return Build(command, known | env)

    def shell(self, script: str, **env: str) -> Build:
        return self.build("sh", "-c", script, **env)

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[Agent]:
        agent = Agent(self.address)
        try:
            yield agent
        finally:
            await agent.close()

    def run_builds(self, *builds: Build) -> Sequence[Build]:
        """Sends builds over one connection at the same time, each once, and returns them as they have ended."""

        async def main() -> None:
            async with asyncio.timeout(LIMIT), self.agent() as agent:
                await asyncio.gather(*(listen(agent, build) for build in builds))

        asyncio.run(main())
        return builds

    def run_build(self, script: str, **env: str) -> Build:
        [build] = self.run_builds(self.shell(script, **env))
        return build

    def processes_of_builds(self) -> dict[int, str]:
        """Those with a working folder in the home, and those that sleep for a test."""
        workers = {worker.process.pid for worker in self.workers}
        return {pid: line for pid, line in self.processes().items() if pid not in workers}

    def close(self) -> None:
        """Nothing here is in Docker."""
        self.git.__exit__()
        for worker in self.workers:
            worker.close()
        assert not (left := self.processes()), left


async def listen(agent: Agent, build: Build) -> Any:
    """Sends a build, to its end."""
    async for _ in agent.invoke(build):
        """Kept in the build."""


async def wait_for_state(agent: Agent, build: Build, state: str) -> asyncio.Task[Any]:
    """Sends a build and waits until it has a state. The task goes on listening."""
    listening = asyncio.ensure_future(listen(agent, build))
    while state not in build.states:
        done, _ = await asyncio.wait([listening], timeout=0.01)
        assert not done or state in build.states, build  # it may have ended meanwhile
    return listening
