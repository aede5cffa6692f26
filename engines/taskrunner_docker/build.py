"""Building an image: fetching the commit, and BuildKit at work."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import urlsplit, urlunsplit

import attrs

from taskrunner.errors import Bug, NotSupported, TaskFailed
from taskrunner.interfaces.caches import CacheFolder, Lease
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.platform import RunContext
from taskrunner.interfaces.results import Results
from taskrunner_docker.build_results import BuildResults
from taskrunner_docker.buildkit import BuildOutcome, BuildRequest, build
from taskrunner_docker.daemon import Daemon
from taskrunner_docker.labels import Marks
from taskrunner_docker.payload import BuildSpec, DockerPayload
from taskrunner_docker.removal import remove_tag
from taskrunner_docker.source import Source, fetch
from taskrunner_docker.transfer import Transfers

_LOGIN_TIMEOUT = 9.0
"""Seconds to find the password for a base image: BuildKit gives a session up that is silent for ten."""


@attrs.frozen
class BuildJob:
    """What engine, execution and results of one build share."""

    daemon: Daemon
    marks: Marks
    transfers: Transfers
    context: RunContext
    spec: BuildSpec

    @property
    def tag(self) -> str:
        """The name that the image has while this run lasts; the author's own are given when it is delivered."""
        return self.marks.build_tag(self.context.run)


class BuildEngine(Engine):
    """Fetches in `load`, begins to build in `start`.

    The repository's mirror is a cache that this run alone uses until its build has ended: the context is read from it.
    A fetch that was interrupted may have left it half written, so it is thrown away then; one that failed in an
    orderly way, for instance by a branch that does not exist, leaves it as good as it was.
    """

    def __init__(self, daemon: Daemon, marks: Marks, transfers: Transfers, context: RunContext) -> None:
        self._new_job: Callable[[BuildSpec], BuildJob] = lambda spec: BuildJob(daemon, marks, transfers, context, spec)
        self._context = context
        self._job: BuildJob | None = None
        self._source: Source | None = None
        self._mirror: Lease | None = None

    async def load(self, payload: object) -> None:
        spec = cast("DockerPayload", payload).build
        if spec is None:
            raise Bug("this engine builds images")
        self._job = self._new_job(spec)
        token = self._context.reveal(spec.token) if spec.token else None
        self._mirror = mirror = await self._context.caches.exclusive(mirror_name(spec.repository))
        try:
            self._source = await fetch(
                spec.repository,
                spec.ref,
                token=token,
                mirror=mirror.folder.path,
                say=self._context.log.say,
                progress=self._context.progress,
            )
        except TaskFailed:
            raise
        except BaseException:
            self._mirror = None
            await mirror.discard()
            raise

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:  # noqa: ARG002  refuses all
        raise NotSupported(
            "a build has no `caches`: use RUN --mount=type=cache in the Dockerfile, which BuildKit keeps"
        )

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        if stdin:
            raise NotSupported("a build has no standard input")
        if self._job is None or self._source is None:
            raise Bug("an engine is loaded before it starts")
        secrets = {name: env[name].encode() for name in self._context.task.secrets if name in env}
        request = BuildRequest(
            self._source.context(self._job.spec.context),
            dockerfile=self._job.spec.dockerfile,
            tags=(self._job.tag,),
            build_args=self._job.spec.build_args,
            labels=self._job.spec.labels,
            target=self._job.spec.target,
            secrets=secrets,
            credentials=_credentials(self._job.transfers, asyncio.get_running_loop()),
            shared_key=mirror_name(self._job.spec.repository),
        )
        mirror, self._mirror = self._mirror, None
        return BuildExecution(self._job, request, self._source.commit, mirror)

    async def discard(self) -> None:
        mirror, self._mirror = self._mirror, None
        if mirror is not None:
            await mirror.commit()


class BuildExecution(Execution):
    """One build under way. It ends with the connection to BuildKit, and so with this worker at the latest."""

    def __init__(self, job: BuildJob, request: BuildRequest, commit: str, mirror: Lease | None) -> None:
        self._job, self._commit, self._mirror = job, commit, mirror
        self._aborted = False
        self._building = asyncio.create_task(self._build(request))

    async def wait(self) -> Results:
        await asyncio.wait({self._building})
        if self._aborted:
            raise Bug("nobody may wait for a build that was aborted")
        if self._building.cancelled():
            return BuildResults(self._job, self._commit, exit_code=1, reason="killed", message="the build was stopped")
        return _results(self._job, self._commit, self._building.result())

    async def kill(self) -> Results:
        self._building.cancel()
        return await self.wait()

    async def abort(self) -> None:
        self._aborted = True
        self._building.cancel()
        await asyncio.wait({self._building})
        await remove_tag(self._job.daemon, self._job.tag)

    async def _build(self, request: BuildRequest) -> BuildOutcome:
        context = self._job.context
        try:
            return await build(
                f"unix://{self._job.daemon.socket}", request, write=context.log.write, progress=context.progress
            )
        finally:
            if self._mirror is not None:
                await asyncio.shield(self._mirror.commit())  # a kill must not leave a lease behind


def mirror_name(repository: str) -> str:
    """The cache of a repository, by its address without user and password."""
    address = urlsplit(repository)
    plain = urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2]))
    return f"git-{hashlib.sha256(plain.encode()).hexdigest()[:32]}"


def _results(job: BuildJob, commit: str, outcome: BuildOutcome) -> BuildResults:
    if outcome.image_id:
        return BuildResults(job, commit, exit_code=0, image_id=outcome.image_id)
    step = f"build failed at {outcome.failed_step}" if outcome.failed_step else "build failed"
    return BuildResults(job, commit, exit_code=1, reason="build-failed", message=f"{step}: {outcome.error}")


def _credentials(transfers: Transfers, loop: asyncio.AbstractEventLoop) -> Callable[[str], tuple[str, str] | None]:
    """Finds the login for a base image's registry, for a thread of the build's."""

    def find(registry: str) -> tuple[str, str] | None:
        login = asyncio.run_coroutine_threadsafe(transfers.registries.find(registry), loop).result(_LOGIN_TIMEOUT)
        return (login.username, login.password) if login else None

    return find
