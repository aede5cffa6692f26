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
from taskrunner_docker.cleanup.labels import Marks
from taskrunner_docker.container.cache_folder import DockerCacheFolder
from taskrunner_docker.engine import DockerEngine

if TYPE_CHECKING:
    from taskrunner_docker.api.client import DockerClient
    from taskrunner_docker.registry.transfer import Transfers

LIBRARIES = ("docker", "dulwich", "h2")
"""What this platform works with: the distribution's extra `docker`."""

HEALTH_AGE = 5.0
"""Seconds after which what is known of the daemon's health is asked for again."""


class DockerPlatform(Platform[tasks.DockerPayload, configuration.DockerOptions]):
    """One daemon on this machine. Loading this class needs none of the libraries that it works with."""

    name = "docker"
    payload = tasks.DockerPayload
    options = configuration.DockerOptions

    def __init__(self, client: DockerClient, options: configuration.DockerOptions, context: PlatformContext) -> None:
        self._client, self._options = client, options
        self._marks = Marks(context.worker_id, context.home)
        self._health = HEALTHY
        self._asked = asyncio.get_running_loop().time()
        self._asking: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, options: configuration.DockerOptions, context: PlatformContext) -> Self:
        _need("docker", *LIBRARIES)
        if any(registry.ecr for registry in options.registries.values()):
            _need("aws", "boto3")

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
        return DockerCacheFolder(name, path, self._client, self._marks.worker_labels)

    async def health(self) -> Health:
        now = asyncio.get_running_loop().time()
        if now - self._asked >= HEALTH_AGE and (self._asking is None or self._asking.done()):
            self._asked = now
            self._asking = asyncio.create_task(self._ask())
        return self._health

    async def clean_up_after(self, worker_id: str) -> list[str]:
        from taskrunner_docker.cleanup.push_tags import PushNotes
        from taskrunner_docker.cleanup.recovery import remove_all_of

        theirs = Marks(worker_id, self._marks.home)
        pushed = await PushNotes(self._client, theirs.pushing).remove_all()
        return [*await remove_all_of(self._client, worker_id), *pushed]

    async def dispose(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        self._client.dispose()

    async def _ask(self) -> None:
        try:
            await self._client.ping()
        except Unavailable as error:
            self._health = Health(fit=False, why=str(error))
        else:
            self._health = HEALTHY

    def _container(self, context: RunContext) -> Engine[tasks.DockerPayload]:
        from taskrunner_docker.container.engine import ContainerEngine

        return ContainerEngine(self._client, self._marks, self._transfers(context), context)

    def _build(self, context: RunContext) -> Engine[tasks.DockerPayload]:
        from taskrunner_docker.build.engine import BuildEngine
        from taskrunner_docker.build.job import BuildJob

        return BuildEngine(partial(BuildJob, self._client, self._marks, self._transfers(context), context), context)

    def _transfers(self, context: RunContext) -> Transfers:
        from taskrunner_docker.registry.logins import Registries
        from taskrunner_docker.registry.transfer import Transfers

        registries = Registries(self._client, self._options.registries, context.reveal, context.log.mask)
        return Transfers(self._client, registries, context.log.say, context.progress)


def _need(extra: str, *libraries: str) -> None:
    """Raises ConfigError: who installed the worker without them should read what to do, not a traceback."""
    if missing := [name for name in libraries if find_spec(name) is None]:
        what = f"pip install 'taskrunner-worker[{extra}]'"
        raise ConfigError(f"the docker platform needs {', '.join(missing)}, not installed here: {what}")
