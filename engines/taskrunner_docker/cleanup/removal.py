"""Removing one object from Docker. An object that is gone already is no error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError

_BEING_REMOVED = "already in progress"


async def remove_container(client: DockerClient, name: str) -> None:
    """Kills and removes a container with its nameless volumes.

    Raises: TaskFailedInternally.
    """
    await _unless_gone(
        f"the container {name}", lambda: client.call(client.api.remove_container, name, v=True, force=True)
    )


async def remove_tag(client: DockerClient, tag: str) -> None:
    """Removes a name of an image, and with its last name the image. Other images stay, also nameless ones.

    Raises: TaskFailedInternally.
    """
    await _unless_gone(f"the image {tag}", lambda: client.call(client.api.remove_image, tag, noprune=True))


async def _unless_gone(what: str, remove: Callable[[], Awaitable[object]]) -> None:
    try:
        await remove()
    except DockerError as error:
        if error.status != HTTPStatus.NOT_FOUND and _BEING_REMOVED not in str(error):
            raise TaskFailedInternally(f"{what} cannot be removed: {error}") from None
    except Unavailable as error:
        raise TaskFailedInternally(f"{what} cannot be removed: {error}") from error
