"""Making the containers of a run, each under its own name."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.cleanup.removal import remove_container
from taskrunner_docker.container.start_errors import check_warnings


async def create_container(client: DockerClient, name: str, body: Mapping[str, Any]) -> str:
    """Its id. One of that name is left from a call whose answer was lost, and never ran: it is replaced.

    Raises: DockerError, TaskFailedInternally, Unavailable.
    """
    try:
        made = await client.call(client.api.create_container_from_config, body, name)
    except DockerError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        await remove_container(client, name)
        made = await client.call(client.api.create_container_from_config, body, name)
    check_warnings(made.get("Warnings") or ())
    return str(made["Id"])
