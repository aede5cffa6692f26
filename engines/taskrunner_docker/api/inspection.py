"""What Docker says of an image, when it has it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError


async def inspect_image(client: DockerClient, name: str) -> dict[str, Any] | None:
    """The image of a name or an id; None when Docker has none. Raises: DockerError, Unavailable."""
    try:
        found: dict[str, Any] = await client.call(client.api.inspect_image, name)
    except DockerError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    return found
