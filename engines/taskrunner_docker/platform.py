"""The Docker platform: runs images, and builds them from the source of a task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

from taskrunner.errors import Complaint, ConfigError, Unavailable
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.platform import HEALTHY, Platform, PlatformContext, RunContext
from taskrunner.model import Health, RunKey
from taskrunner_docker import options as configuration
from taskrunner_docker import payload as tasks
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.container.cache_folder import DockerCacheFolder
from taskrunner_docker.engine import DockerEngine

if TYPE_CHECKING:
    from taskrunner_docker.api.client import DockerClient
    from taskrunner_docker.cleanup.recovery import DockerLeftovers
    from taskrunner_docker.images.housekeeping import Housekeeping
    from taskrunner_docker.images.provision import ImageProvision
    from taskrunner_docker.images.shared_pulls import SharedPulls
    from taskrunner_docker.pod.pool import PausePool
    from taskrunner_docker.registry.transfer import Transfers

LIBRARIES = ("cryptography", "docker", "dulwich", "h2")
"""The libraries of this platform: the distribution's extra `docker`."""

REST_LIMIT = 10.0
"""Seconds at a worker's end to look for what is left of it in Docker."""
SICK_REST_LIMIT = 2.0
"""The same, when Docker did not answer the last time."""

DISK_AGE = 5.0
"""Seconds until the room on Docker's disk is checked again."""


class DockerPlatform(Platform[tasks.DockerPayload, configuration.DockerOptions]):
    """One daemon on this machine. Importing this class needs none of its libraries."""

    name = "docker"
    takes_source = True
    absolute_paths = True
    keeps_limits = True
    takes_services = True
    takes_stdin = True
    fills_stdin = ("steps", "build")
    payload = tasks.DockerPayload
    options = configuration.DockerOptions

    def __init__(self, client: DockerClient, options: configuration.DockerOptions, context: PlatformContext) -> None:
        self._client, self._options, self._environment = client, options, context.environment
        self._labels = WorkerLabels(context.worker_id, context.home)
        self._housekeeping, self._pulls = _images(client, options, context.home)
        self._disk = HEALTHY
        self._capacity = context.capacity
        self._pool: PausePool | None = None
        self._checked_at = asyncio.get_running_loop().time()
        self._checking: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, options: configuration.DockerOptions, context: PlatformContext) -> Self:
        _require("docker", *LIBRARIES)
        if any(registry.ecr for registry in options.registries.values()):
            _require("aws", "boto3")

        from taskrunner_docker.api.client import DockerClient

        platform = cls(await DockerClient.connect(options.host, context.environment), options, context)
        platform._housekeeping.schedule()
        return platform

    @classmethod
    def check_options(cls, options: configuration.DockerOptions) -> Iterable[Complaint]:
        return configuration.complaints(options)

    @classmethod
    def check(cls, payload: tasks.DockerPayload) -> None:
        tasks.check(payload)

    async def new_engine(self, context: RunContext) -> Engine[tasks.DockerPayload]:
        return DockerEngine(partial(self._container, context), partial(self._build, context))

    def new_cache_folder(self, name: str, path: Path) -> DockerCacheFolder:
        return DockerCacheFolder(name, path, self._client, self._labels)

    async def health(self) -> Health:
        if why := self._client.watch.problem:
            return Health(fit=False, why=why)
        now = asyncio.get_running_loop().time()
        if now - self._checked_at >= DISK_AGE and (self._checking is None or self._checking.done()):
            self._checked_at = now
            self._checking = asyncio.create_task(self._check_disk())
        return self._disk

    async def clean_up_after(self, worker_id: str) -> list[str]:
        return await self._left_by(worker_id).remove_all()

    async def clean_up_run(self, worker_id: str, run: RunKey) -> list[str]:
        return await self._left_by(worker_id).remove_run(run)

    def _left_by(self, worker_id: str) -> DockerLeftovers:
        from taskrunner_docker.cleanup.recovery import DockerLeftovers

        return DockerLeftovers(self._client, WorkerLabels(worker_id, self._labels.home))

    async def dispose(self) -> None:
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait({self._checking})
        await self._housekeeping.dispose()
        try:
            if self._pool is not None:
                await self._pool.dispose()
            await self._remove_rest()
        finally:
            self._client.dispose()

    async def _remove_rest(self) -> None:
        """What could not be removed before, and nobody has a note of. Raises Unavailable."""
        if not self._labels.worker_id:
            return
        limit = SICK_REST_LIMIT if self._client.watch.problem else REST_LIMIT
        try:
            async with asyncio.timeout(limit):
                await self._left_by(self._labels.worker_id).remove_all()
        except TimeoutError:
            raise Unavailable(f"Docker has not removed within {limit:g} s what is left of this worker") from None

    async def _check_disk(self) -> None:
        if self._pool is not None:
            await self._pool.remove_left()
        self._disk = await self._housekeeping.check_disk()

    def _container(self, context: RunContext) -> Engine[tasks.DockerPayload]:
        from taskrunner_docker.container.engine import ContainerEngine

        return ContainerEngine(
            self._client, self._labels, self._provision(context), context, pool=self._pauses(), options=self._options
        )

    def _provision(self, context: RunContext) -> ImageProvision:
        from taskrunner_docker.cleanup.push_lock import PushLock
        from taskrunner_docker.images.provision import ImageProvision

        lock = PushLock(self._labels.push_folder.parent)
        return ImageProvision(self._transfers(context), self._options, self._housekeeping, self._pulls, lock)

    def _pauses(self) -> PausePool:
        from taskrunner_docker.pod.pool import PausePool

        if self._pool is None:
            self._pool = PausePool(self._client, self._labels, self._capacity)
        return self._pool

    def _build(self, context: RunContext) -> Engine[tasks.DockerPayload]:
        from taskrunner_docker.build.engine import BuildEngine
        from taskrunner_docker.build.job import BuildJob

        job = partial(BuildJob, self._client, self._labels, self._transfers(context), context, self._housekeeping)
        return BuildEngine(job, context, self._options)

    def _transfers(self, context: RunContext) -> Transfers:
        from taskrunner_docker.registry.logins import Registries
        from taskrunner_docker.registry.transfer import Transfers

        registries = Registries(
            self._client, self._options.registries, context.reveal, context.log.mask, self._environment
        )
        return Transfers(self._client, registries, context.log.say, context.progress)


def _images(client: DockerClient, options: configuration.DockerOptions, home: Path) -> tuple[Housekeeping, SharedPulls]:
    """What the runs of a worker share."""
    from taskrunner_docker.images.housekeeping import Housekeeping
    from taskrunner_docker.images.shared_pulls import SharedPulls
    from taskrunner_docker.images.store import ImageStore

    return Housekeeping(ImageStore(client, home), options), SharedPulls()


def _require(extra: str, *libraries: str) -> None:
    """Raises ConfigError, with the command that installs them, instead of a traceback."""
    if missing := [name for name in libraries if find_spec(name) is None]:
        what = f"pip install 'taskrunner-worker[{extra}]'"
        raise ConfigError(f"the docker platform needs {', '.join(missing)}, not installed here: {what}")
