"""How a service is known to be ready: by a port, a command, or the HEALTHCHECK of its image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from taskrunner.errors import NotSupported, TaskFailed
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.container.exec import ContainerExec
from taskrunner_docker.pod.pause import Pause
from taskrunner_docker.pod.sockets import Sockets


class Readiness(ABC):
    """One way to ask."""

    @abstractmethod
    async def is_ready(self, container: str) -> bool:
        """Asked again and again while it is False.

        Raises: DockerError, NotSupported, OSError, TaskFailed (it will never be), Unavailable.
        """


@attrs.frozen
class Started(Readiness):
    """It is ready once it has started."""

    async def is_ready(self, container: str) -> bool:  # noqa: ARG002  as every way to ask
        return True


@attrs.frozen
class PortListens(Readiness):
    """A program of its namespace listens to a TCP port."""

    pause: Pause
    port: int

    async def is_ready(self, container: str) -> bool:  # noqa: ARG002  all containers of a run share the namespace
        if not self.pause.is_in_sight:
            raise NotSupported("a port for `ready`: its network cannot be seen from here, so give a command")
        return Sockets(self.pause.pid).has_listener(self.port)


@attrs.frozen
class CommandSucceeds(Readiness):
    """A command in the service exits with 0."""

    client: DockerClient
    command: Sequence[str]

    async def is_ready(self, container: str) -> bool:
        asking = await ContainerExec.begin(self.client, container, self.command, sink=_drop)
        try:
            return await asking.wait() == 0
        except BaseException:
            await asking.abort()
            raise


@attrs.frozen
class IsHealthy(Readiness):
    """The image's own check has succeeded."""

    client: DockerClient

    async def is_ready(self, container: str) -> bool:
        state = (await self.client.call(self.client.api.inspect_container, container))["State"]
        status = state.get("Health", {}).get("Status")
        if status == "unhealthy":
            raise TaskFailed("service-failed", "is unhealthy by the HEALTHCHECK of its image")
        return bool(status == "healthy")


def readiness(
    ready: int | tuple[str, ...] | None, image: Mapping[str, Any], client: DockerClient, pause: Pause
) -> Readiness:
    """`image` is what Docker says about the image of the service."""
    match ready:
        case int():
            return PortListens(pause, ready)
        case tuple():
            return CommandSucceeds(client, ready)
    test = (image["Config"].get("Healthcheck") or {}).get("Test") or ["NONE"]
    return Started() if test == ["NONE"] else IsHealthy(client)


async def _drop(number: int, piece: bytes) -> None:
    """The output of a check is nobody's."""
