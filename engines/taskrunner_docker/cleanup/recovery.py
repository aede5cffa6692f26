"""Removing what a worker that died, or a run whose own clean-up failed, has left in Docker."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any

import attrs

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.model import RunKey
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.cleanup.labels import RUN, WorkerLabels
from taskrunner_docker.cleanup.push_tags import Push, PushRecords
from taskrunner_docker.cleanup.removal import remove_container, remove_tag


@attrs.frozen
class DockerLeftovers:
    """What one worker has in Docker, by the names that it gives."""

    client: DockerClient
    labels: WorkerLabels

    async def remove_all(self) -> list[str]:
        """Removes the worker's containers, then the names that it was pushing, and its images: an image goes with its
        last name, and one whose last name is given back to another image would stay.

        Returns a line for each. Raises: Unavailable when something is left.
        """
        images = await self._images()
        return await self._remove(await self._containers(), images, await self._pushes().all())

    async def remove_run(self, run: RunKey) -> list[str]:
        """The same for one run."""
        tag = self.labels.build_tag(run)
        found = await self._containers()
        containers = [each for each in found if any(self.labels.is_of_run(name, run) for name in _names(each))]
        images = [found for found in await self._images() if found == tag]
        return await self._remove(containers, images, await self._pushes().of_run(run))

    async def _remove(
        self, containers: Iterable[dict[str, Any]], images: Iterable[str], pushes: Iterable[Push]
    ) -> list[str]:
        removals = [
            *((f"container {_shown(found)}", remove_container(self.client, found["Id"])) for found in containers),
            *((f"the image name {push.tag}, which was being pushed", self._pushes().undo(push)) for push in pushes),
            *((f"image {tag}", remove_tag(self.client, tag)) for tag in images),
        ]
        outcomes = [await _outcome(what, removal) for what, removal in removals]
        if problems := [problem for _, problem in outcomes if problem]:
            raise Unavailable("; ".join(problems))
        return [line for line, _ in outcomes]

    def _pushes(self) -> PushRecords:
        return PushRecords(self.client, self.labels.push_folder)

    async def _containers(self) -> list[dict[str, Any]]:
        """Raises Unavailable."""
        try:
            found = await self.client.call(self.client.api.containers, all=True, filters={"name": "taskrunner-"})
        except DockerError as error:
            raise Unavailable(f"Docker cannot say what a worker has left: {error}") from None
        return [each for each in found if any(map(self.labels.is_container_name, _names(each)))]

    async def _images(self) -> list[str]:
        """Raises Unavailable."""
        repository = self.labels.build_repository
        try:
            found = await self.client.call(self.client.api.images, name=repository)
        except DockerError as error:
            raise Unavailable(f"Docker cannot say what a worker has left: {error}") from None
        return [tag for image in found for tag in image["RepoTags"] or [] if tag.startswith(f"{repository}:")]


async def _outcome(what: str, removal: Awaitable[None]) -> tuple[str, str]:
    """A line when it was removed, or else the problem."""
    try:
        await removal
    except TaskFailedInternally as error:
        return "", str(error)
    return f"removed {what}", ""


def _names(container: dict[str, Any]) -> list[str]:
    return [name.removeprefix("/") for name in container["Names"] or []]


def _shown(container: dict[str, Any]) -> str:
    run = container["Labels"].get(RUN, "")
    return f"{container['Id'][:12]} of {run}" if run else str(container["Id"][:12])
