"""Building an image: fetching the commit, and starting BuildKit."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Callable, Mapping

from taskrunner.errors import Bug, NotSupported, Unavailable
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.platform import RunContext
from taskrunner_docker.build.execution import BuildExecution
from taskrunner_docker.build.job import BuildJob
from taskrunner_docker.buildkit import BuildRequest
from taskrunner_docker.payload import BuildSpec, DockerPayload
from taskrunner_docker.registry.transfer import Transfers
from taskrunner_git import Commit, FetchedSource, fetch_source

_LOGIN_TIMEOUT = 9.0
"""Seconds to find the password for a base image: BuildKit ends a session that is silent for ten."""


class BuildEngine(Engine[DockerPayload]):
    """Fetches in `load`, begins to build in `start`.

    The mirror of the repository is leased until the build has ended, since BuildKit reads from it.
    """

    def __init__(self, job: Callable[[BuildSpec], BuildJob], context: RunContext) -> None:
        self._new_job, self._context = job, context
        self._job: BuildJob | None = None
        self._source: FetchedSource | None = None

    async def load(self, payload: DockerPayload) -> None:
        spec = payload.build
        if spec is None:
            raise Bug("this engine builds images")
        self._job = self._new_job(spec)
        self._source = await fetch_source(self._context)

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:  # noqa: ARG002  refuses all
        raise NotSupported(
            "a build has no `caches`: use RUN --mount=type=cache in the Dockerfile, which BuildKit keeps"
        )

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        if stdin:
            raise NotSupported("a build has no standard input")
        if self._job is None or self._source is None:
            raise Bug("an engine is loaded before it starts")
        request = self._request(self._job, self._source.commit, env)
        source, self._source = self._source, None
        return BuildExecution(self._job, request, source)

    async def discard(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            await source.release()

    def _request(self, job: BuildJob, commit: Commit, env: Mapping[str, str]) -> BuildRequest:
        return BuildRequest(
            commit.below(job.spec.context),
            dockerfile=job.spec.dockerfile,
            tags=(job.tag,),
            build_args=job.spec.build_args,
            labels=job.spec.labels,
            target=job.spec.target,
            secrets={name: env[name].encode() for name in self._context.task.secrets if name in env},
            credentials=_credentials(job.transfers, asyncio.get_running_loop()),
            shared_key=f"{commit.times_key}/{posixpath.normpath(job.spec.context)}",
        )


def _credentials(transfers: Transfers, loop: asyncio.AbstractEventLoop) -> Callable[[str], tuple[str, str] | None]:
    """Finds the login for a base image's registry, for a thread of the build."""

    def find(registry: str) -> tuple[str, str] | None:
        finding = asyncio.run_coroutine_threadsafe(transfers.registries.find(registry), loop)
        try:
            login = finding.result(_LOGIN_TIMEOUT)
        except TimeoutError:
            finding.cancel()
            raise Unavailable(f"the login for {registry} was not found within {_LOGIN_TIMEOUT:.0f} s") from None
        return (login.username, login.password) if login else None

    return find
