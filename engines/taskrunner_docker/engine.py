"""The engine of one run: that of a container or of a build, as its payload decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from taskrunner.errors import Bug
from taskrunner.interfaces.attachments import ProxyHandler, Service
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Execution
from taskrunner_docker.payload import DockerPayload


class DockerEngine(Engine[DockerPayload]):
    """Passes every call to the engine that `load` has chosen."""

    def __init__(
        self, container: Callable[[], Engine[DockerPayload]], build: Callable[[], Engine[DockerPayload]]
    ) -> None:
        self._container, self._build = container, build
        self._chosen: Engine[DockerPayload] | None = None

    async def load(self, payload: DockerPayload) -> None:
        self._chosen = self._build() if payload.build else self._container()
        await self._chosen.load(payload)

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        await self._loaded().attach_cache(folder, target, read_only=read_only)

    async def attach_mount(self, path: Path, target: str) -> None:
        await self._loaded().attach_mount(path, target)

    async def attach_proxy(self, name: str, handler: ProxyHandler) -> None:
        await self._loaded().attach_proxy(name, handler)

    async def attach_service(self, name: str, service: Service) -> None:
        await self._loaded().attach_service(name, service)

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        return await self._loaded().start(env, stdin=stdin)

    async def discard(self) -> None:
        if self._chosen is not None:
            await self._chosen.discard()

    def _loaded(self) -> Engine[DockerPayload]:
        if self._chosen is None:
            raise Bug("an engine is loaded before anything else")
        return self._chosen
