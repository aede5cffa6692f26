"""Building an image: fetching the commit, and BuildKit at work."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from taskrunner.errors import Bug, NotSupported, TaskFailed, TaskFailedInternally, Unavailable
from taskrunner.interfaces.caches import CacheFolder, Lease
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.platform import RunContext
from taskrunner.interfaces.results import Results
from taskrunner_docker.build.job import BuildJob
from taskrunner_docker.build.results import BuildResults
from taskrunner_docker.buildkit import BuildOutcome, BuildRequest, build
from taskrunner_docker.cleanup.removal import remove_tag
from taskrunner_docker.payload import BuildSpec, DockerPayload
from taskrunner_docker.registry.transfer import Transfers
from taskrunner_git import Commit, fetch, parse_url

_LOGIN_TIMEOUT = 9.0
"""Seconds to find the password for a base image: BuildKit gives a session up that is silent for ten."""
_NO_LOGIN = re.compile(r"cannot be pulled.*(?:401|403|denied|authorization|basic auth)", re.IGNORECASE | re.DOTALL)
_LOGIN_ADVICE = "check the login for its registry in [docker.registries] of the worker's configuration"


@attrs.frozen
class Checkout:
    """A commit, and the lease on the mirror that its files are read from."""

    commit: Commit
    mirror: Lease

    async def give_back(self) -> None:
        """May be called again."""
        self.commit.close()
        await self.mirror.commit()


class BuildEngine(Engine[DockerPayload]):
    """Fetches in `load`, begins to build in `start`.

    The repository's mirror is a cache that this run alone uses until its build has ended. A fetch that failed in an
    orderly way, for instance by a branch that does not exist, leaves it as good as it was; after one that was
    interrupted it is thrown away, as every cache is.
    """

    def __init__(self, job: Callable[[BuildSpec], BuildJob], context: RunContext) -> None:
        self._new_job, self._context = job, context
        self._job: BuildJob | None = None
        self._checkout: Checkout | None = None

    async def load(self, payload: DockerPayload) -> None:
        spec = payload.build
        if spec is None:
            raise Bug("this engine builds images")
        self._job = self._new_job(spec)
        token = self._context.reveal(spec.token) if spec.token else None
        mirror = await self._context.caches.exclusive(mirror_name(spec.repository))
        try:
            commit = await self._fetch(spec, token, mirror.folder.path)
        except (TaskFailed, Unavailable):
            await mirror.commit()
            raise
        except BaseException:
            await mirror.discard()
            raise
        self._checkout = Checkout(commit, mirror)

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:  # noqa: ARG002  refuses all
        raise NotSupported(
            "a build has no `caches`: use RUN --mount=type=cache in the Dockerfile, which BuildKit keeps"
        )

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        if stdin:
            raise NotSupported("a build has no standard input")
        if self._job is None or self._checkout is None:
            raise Bug("an engine is loaded before it starts")
        request = self._request(self._job, self._checkout.commit, env)
        checkout, self._checkout = self._checkout, None
        return BuildExecution(self._job, request, checkout)

    async def discard(self) -> None:
        checkout, self._checkout = self._checkout, None
        if checkout is not None:
            await checkout.give_back()

    async def _fetch(self, spec: BuildSpec, token: str | None, mirror: Path) -> Commit:
        say, progress = self._context.log.say, self._context.progress
        return await fetch(spec.repository, spec.ref, token=token, mirror=mirror, say=say, progress=progress)

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
            shared_key=mirror_name(job.spec.repository),
        )


class BuildExecution(Execution):
    """One build under way. It ends with the connection to BuildKit, and so with this worker at the latest."""

    def __init__(self, job: BuildJob, request: BuildRequest, checkout: Checkout) -> None:
        self._job, self._checkout = job, checkout
        self._aborted = False
        where, context = f"unix://{job.daemon.socket}", job.context
        self._building = asyncio.create_task(build(where, request, write=context.log.write, progress=context.progress))
        self._ending = asyncio.create_task(self._end())

    async def wait(self) -> Results:
        await asyncio.wait({self._ending})
        if self._aborted:
            raise Bug("nobody may wait for a build that was aborted")
        return self._ending.result()

    async def kill(self) -> Results:
        self._building.cancel()
        try:
            return await self.wait()
        except Unavailable as error:
            raise TaskFailedInternally(str(error)) from error

    async def abort(self) -> None:
        self._aborted = True
        self._building.cancel()
        await asyncio.wait({self._ending})
        await remove_tag(self._job.daemon, self._job.tag)

    async def _end(self) -> BuildResults:
        """Only the build is ever cancelled, so that the mirror is given back however it ends."""
        await asyncio.wait({self._building})
        commit = self._checkout.commit.sha
        await self._checkout.give_back()
        if self._building.cancelled():
            return BuildResults(self._job, commit, exit_code=1, reason="killed", message="the build was stopped")
        return _results(self._job, commit, self._building.result())


def mirror_name(repository: str) -> str:
    """The cache of a repository, by its address without user and password. Raises TaskFailed when it is no address."""
    return f"git-{hashlib.sha256(str(parse_url(repository)).encode()).hexdigest()[:32]}"


def _results(job: BuildJob, commit: str, outcome: BuildOutcome) -> BuildResults:
    if outcome.image_id:
        return BuildResults(job, commit, exit_code=0, image_id=outcome.image_id)
    step = f"build failed at {outcome.failed_step}" if outcome.failed_step else "build failed"
    advice = f"; {_LOGIN_ADVICE}" if _NO_LOGIN.search(outcome.error) else ""
    return BuildResults(job, commit, exit_code=1, reason="build-failed", message=f"{step}: {outcome.error}{advice}")


def _credentials(transfers: Transfers, loop: asyncio.AbstractEventLoop) -> Callable[[str], tuple[str, str] | None]:
    """Finds the login for a base image's registry, for a thread of the build's."""

    def find(registry: str) -> tuple[str, str] | None:
        finding = asyncio.run_coroutine_threadsafe(transfers.registries.find(registry), loop)
        try:
            login = finding.result(_LOGIN_TIMEOUT)
        except TimeoutError:
            finding.cancel()
            raise Unavailable(f"the login for {registry} was not found within {_LOGIN_TIMEOUT:.0f} s") from None
        return (login.username, login.password) if login else None

    return find
