"""Building an image: fetching the commit, and starting BuildKit."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from taskrunner.errors import Bug, Complaint, MalformedPayload, NotSupported, Unavailable
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.platform import RunContext
from taskrunner_docker.api.client import FIRST_OF_23
from taskrunner_docker.build.agents import ssh_agents
from taskrunner_docker.build.execution import BuildExecution
from taskrunner_docker.build.job import BuildJob
from taskrunner_docker.build.labels import image_labels
from taskrunner_docker.build.way import Way, choose_way, classic_complaints, limit_complaints
from taskrunner_docker.build_fields import hosts
from taskrunner_docker.build_fields.cache import INLINE
from taskrunner_docker.build_fields.limits import BuildLimits
from taskrunner_docker.buildkit import BuildOutcome, BuildRequest, build
from taskrunner_docker.classic import build_by_tar
from taskrunner_docker.options import DockerOptions
from taskrunner_docker.payload import BuildSpec, DockerPayload, local_tag_complaints
from taskrunner_docker.registry.transfer import Transfers
from taskrunner_docker.ssh import Agent
from taskrunner_git import FileTree
from taskrunner_source import FetchedSource, fetch_source

_LOGIN_TIMEOUT = 9.0
"""Seconds to find the password for a base image: BuildKit ends a session that is silent for ten."""


class BuildEngine(Engine[DockerPayload]):
    """Fetches in `load`, begins to build in `start`.

    The source is released after the end of the build, since BuildKit reads from it.
    """

    def __init__(self, job: Callable[[BuildSpec], BuildJob], context: RunContext, options: DockerOptions) -> None:
        self._new_job, self._context, self._options = job, context, options
        self._agents: Mapping[str, Agent] = {}
        self._way = Way()
        self._job: BuildJob | None = None
        self._source: FetchedSource | None = None
        self._files: FileTree | None = None

    async def load(self, payload: DockerPayload) -> None:
        spec = payload.build
        if spec is None:
            raise Bug("this engine builds images")
        self._job = self._new_job(spec)
        self._way = await choose_way(self._job.client, spec)
        complaints = [*self._complaints(self._job), *await limit_complaints(self._job.client, spec.limits)]
        if complaints:
            raise MalformedPayload(*complaints)
        if self._way.classic_because:
            self._context.log.say(f"build: without BuildKit, the context as a tar: {self._way.classic_because}")
        self._agents = ssh_agents(spec.ssh, self._context.reveal, self._options.ssh_agent)
        self._source = await fetch_source(self._context)
        self._files = await self._source.files(spec.context, keep_git=spec.keep_git)

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:  # noqa: ARG002  refuses all
        raise NotSupported(
            "a build has no `caches`: use RUN --mount=type=cache in the Dockerfile, which BuildKit keeps"
        )

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        if stdin:
            raise NotSupported("a build has no standard input")
        if self._job is None or self._source is None or self._files is None:
            raise Bug("an engine is loaded before it starts")
        request = self._request(self._job, self._source, self._files, env)
        source, self._source = self._source, None
        return BuildExecution(self._job, self._build(self._job, request), source)

    async def discard(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            await source.release()

    def _complaints(self, job: BuildJob) -> Iterator[Complaint]:
        """What this worker and its Docker do not give."""
        yield from local_tag_complaints(job.spec, self._options.local_tags)
        yield from classic_complaints(self._way, job.spec, self._context.task.secrets)
        if not job.client.speaks(FIRST_OF_23):
            yield from hosts.complaints(job.spec.extra_hosts, ipv6=False)

    def _build(self, job: BuildJob, request: BuildRequest) -> Coroutine[Any, Any, BuildOutcome]:
        log, progress = self._context.log, self._context.progress
        if self._way.classic_because:
            limits = job.spec.limits or BuildLimits()
            return build_by_tar(job.client, request, limits, log=log, progress=progress)
        return build(job.client, request, log=log, progress=progress, copies=job.copies)

    def _request(self, job: BuildJob, source: FetchedSource, files: FileTree, env: Mapping[str, str]) -> BuildRequest:
        spec = job.spec
        return BuildRequest(
            files,
            dockerfile=spec.dockerfile,
            tags=(job.tag,),
            build_args=spec.build_args,
            labels=image_labels(spec, source.provenance),
            target=spec.target,
            extra_hosts=spec.extra_hosts,
            cache_from=spec.cache_from,
            inline_cache=spec.cache_to == INLINE,
            secrets={name: env[name].encode() for name in self._context.task.secrets if name in env},
            ssh=self._agents,
            credentials=_credentials(job.transfers, asyncio.get_running_loop()),
            shared_key=f"{source.times_key}/{posixpath.normpath(spec.context)}",
            context_state="" if spec.keep_git else source.state,
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
        return (login.username, login.secret) if login else None

    return find
