"""Crash recovery: removing everything that a dead worker has left in Docker."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.cleanup.labels import RUN, WORKER, build_repository
from taskrunner_docker.cleanup.removal import remove_container, remove_network, remove_tag, remove_volume


async def remove_all_of(client: DockerClient, worker_id: str) -> list[str]:
    """Removes all containers, then the networks, volumes and images, that carry the labels and names of a worker.

    Returns a line for each. Raises: Unavailable.
    """
    api, mine = client.api, {"label": f"{WORKER}={worker_id}"}
    try:
        containers = await client.call(api.containers, all=True, filters=mine)
        networks = await client.call(api.networks, filters=mine)
        volumes = (await client.call(api.volumes, filters=mine))["Volumes"] or []
        images = await client.call(api.images, name=build_repository(worker_id))
    except DockerError as error:
        raise Unavailable(f"Docker cannot say what a worker has left: {error}") from None
    lines = await _remove_containers(client, containers)
    lines += [await _report(f"network {found['Name']}", remove_network(client, found["Id"])) for found in networks]
    lines += [await _report(f"volume {found['Name']}", remove_volume(client, found["Name"])) for found in volumes]
    tags = [tag for found in images for tag in found["RepoTags"] or [] if tag.startswith(build_repository(worker_id))]
    return lines + [await _report(f"image {tag}", remove_tag(client, tag)) for tag in tags]


async def _remove_containers(client: DockerClient, containers: list[dict[str, Any]]) -> list[str]:
    """Raises Unavailable when one stays: it may still run, and then its task must not be run again."""
    lines = []
    for found in containers:
        try:
            await remove_container(client, found["Id"])
        except TaskFailedInternally as error:
            raise Unavailable(str(error)) from error
        lines.append(f"removed container {_shown(found)}")
    return lines


async def _report(what: str, removal: Awaitable[None]) -> str:
    try:
        await removal
    except TaskFailedInternally as error:
        return f"{what} could not be removed: {error}"
    return f"removed {what}"


def _shown(container: dict[str, Any]) -> str:
    run = container["Labels"].get(RUN, "")
    return f"{container['Id'][:12]} of {run}" if run else str(container["Id"][:12])
