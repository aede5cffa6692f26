"""The Docker platform: runs images, and builds them from git repositories."""

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
from taskrunner.model import Health
from taskrunner_docker import options as configuration
from taskrunner_docker import payload as tasks
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.container.cache_folder import DockerCacheFolder
from taskrunner_docker.engine import DockerEngine

if TYPE_CHECKING:
    from taskrunner_docker.api.client import DockerClient
    from taskrunner_docker.registry.transfer import Transfers

LIBRARIES = ("docker", "dulwich", "h2")
"""The libraries of this platform: the distribution's extra `docker`."""

HEALTH_AGE = 5.0
"""Seconds until the daemon's health is checked again."""


class DockerPlatform(Platform[tasks.DockerPayload, configuration.DockerOptions]):
    """One daemon on this machine. Importing this class needs none of its libraries."""

    name = "docker"
    takes_source = True
    payload = tasks.DockerPayload
    options = configuration.DockerOptions

    def __init__(self, client: DockerClient, options: configuration.DockerOptions, context: PlatformContext) -> None:
        self._client, self._options = client, options
        self._labels = WorkerLabels(context.worker_id, context.home)
        self._health = HEALTHY
        self._checked_at = asyncio.get_running_loop().time()
        self._checking: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, options: configuration.DockerOptions, context: PlatformContext) -> Self:
        _require("docker", *LIBRARIES)
        if any(registry.ecr for registry in options.registries.values()):
            _require("aws", "boto3")

        from taskrunner_docker.api.client import DockerClient

        return cls(await DockerClient.connect(options.host), options, context)

    @classmethod
    def check_options(cls, options: configuration.DockerOptions) -> Iterable[Complaint]:
        return configuration.complaints(options)

    def check(self, payload: tasks.DockerPayload) -> None:
        tasks.check(payload)

    async def new_engine(self, context: RunContext) -> Engine[tasks.DockerPayload]:
        return DockerEngine(partial(self._container, context), partial(self._build, context))

    def new_cache_folder(self, name: str, path: Path) -> DockerCacheFolder:
        return DockerCacheFolder(name, path, self._client, self._labels.of_worker)

    async def health(self) -> Health:
        now = asyncio.get_running_loop().time()
        if now - self._checked_at >= HEALTH_AGE and (self._checking is None or self._checking.done()):
            self._checked_at = now
            self._checking = asyncio.create_task(self._check_daemon())
        return self._health

    async def clean_up_after(self, worker_id: str) -> list[str]:
        from taskrunner_docker.cleanup.push_tags import PushRecords
        from taskrunner_docker.cleanup.recovery import remove_all_of

        theirs = WorkerLabels(worker_id, self._labels.home)
        pushed = await PushRecords(self._client, theirs.push_folder).remove_all()
        return [*await remove_all_of(self._client, worker_id), *pushed]

    async def dispose(self) -> None:
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait({self._checking})
        self._client.dispose()

    async def _check_daemon(self) -> None:
        try:
            await self._client.ping()
        except Unavailable as error:
            self._health = Health(fit=False, why=str(error))
        else:
            self._health = HEALTHY

    def _container(self, context: RunContext) -> Engine[tasks.DockerPayload]:
        from taskrunner_docker.container.engine import ContainerEngine

        return ContainerEngine(self._client, self._labels, self._transfers(context), context)

    def _build(self, context: RunContext) -> Engine[tasks.DockerPayload]:
        from taskrunner_docker.build.engine import BuildEngine
        from taskrunner_docker.build.job import BuildJob

        return BuildEngine(partial(BuildJob, self._client, self._labels, self._transfers(context), context), context)

    def _transfers(self, context: RunContext) -> Transfers:
        from taskrunner_docker.registry.logins import Registries
        from taskrunner_docker.registry.transfer import Transfers

        registries = Registries(self._client, self._options.registries, context.reveal, context.log.mask)
        return Transfers(self._client, registries, context.log.say, context.progress)


def _require(extra: str, *libraries: str) -> None:
    """Raises ConfigError, with the command that installs them, instead of a traceback."""
    if missing := [name for name in libraries if find_spec(name) is None]:
        what = f"pip install 'taskrunner-worker[{extra}]'"
        raise ConfigError(f"the docker platform needs {', '.join(missing)}, not installed here: {what}")
