"""A home whose worker serves the example orchestrator, in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs

from examples.orchestrator import Orchestrator, jobs
from tests.support.e2e import LABEL, LIMIT, Site, WorkerProcess
from tests.support.githttp import GitServer, commit, make_repository
from tests.support.ports import free_port

SESSION_LIMIT = 3 * LIMIT
"""Seconds for all that a test does with one orchestrator: several jobs, each with a build."""

GIT_TOKEN = "ghp_0123456789abcdefSECRET"


@attrs.define(eq=False)
class OrchestratorSite(Site):
    """Its repository, `team/web`, is served over HTTP to who has the token."""

    port: int = attrs.field(init=False, factory=free_port)
    git: GitServer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        make_repository(self.repository, {"Dockerfile": self.dockerfile("RUN echo built")})
        self.git = GitServer(self.folder / "git", token=GIT_TOKEN)
        self.git.__enter__()

    @property
    def repository(self) -> Any:
        return self.folder / "git" / "team" / "web.git"

    def dockerfile(self, *lines: str) -> str:
        return "\n".join(["FROM taskrunner-base", f"LABEL {LABEL}={self.token}", *lines, ""])

    def commit(self, *lines: str, path: str = "Dockerfile") -> None:
        commit(self.repository, {path: self.dockerfile(*lines)})

    def configure_queue(self, docker: str, **options: str) -> None:
        """The identity of the worker is in its `.env`, as for the original one."""
        own = {"repository_base": self.git.url("").rstrip("/"), **options}
        lines = [f'{key} = "{value}"' for key, value in own.items()]
        self.configure("\n".join(["[queue.orchestrator]", *lines, docker, ""]))

    def write_dotenv(self, variables: Mapping[str, str]) -> None:
        own = {"WORKER_ID": "builder-1", "ORCHESTRATOR_ADDR": f"127.0.0.1:{self.port}", **variables}
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in own.items()))

    def serve(self) -> WorkerProcess:
        return self.worker("--queue", "orchestrator://?port=0")

    @asynccontextmanager
    async def orchestrator(self) -> AsyncIterator[Orchestrator]:
        orchestrator = Orchestrator()
        async with asyncio.timeout(SESSION_LIMIT), orchestrator.serving(f"127.0.0.1:{self.port}"):
            yield orchestrator

    def request(self, **fields: str) -> Any:
        known = {
            "jobId": "job 1",
            "repoUrl": "team/web",
            "branch": "main",
            "dockerfilePath": "Dockerfile",
            "contextDir": ".",
            "imageName": f"team/web:{self.token}",
            "githubToken": GIT_TOKEN,
        }
        return jobs.JobRequest(**(known | fields))

    def processes_of_sleep(self) -> list[str]:
        return [line for line in self.processes().values() if line.split() == ["sleep", self.token]]

    def close(self) -> None:
        self.git.__exit__()
        super().close()
