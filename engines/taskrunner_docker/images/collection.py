"""Removes images that the workers of this home have brought, the one first that was not used for the longest time.

An image stays when nobody of this home has brought it, when it has a name that none of us gave it, when a container
has been made of it, running or not, or when a run is about to make one.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

import attrs

from taskrunner.errors import TaskFailedInternally
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.images.records import ImageRecord
from taskrunner_docker.images.store import ImageStore, on_disk

_NONE = "<none>"
"""What Docker's list has for an image without a name, in place of both parts."""


@attrs.frozen
class ImageCollection:
    """The collection of one daemon's images."""

    store: ImageStore

    async def settle(self) -> None:
        """Records what dead workers have brought without recording it. Raises: TaskFailedInternally, Unavailable."""
        records = await self.store.records()
        for each in await on_disk(lambda: list(records.abandoned())):
            await self.store.settle(each.path, each.names, each.known)

    async def remove_until(self, enough: Callable[[int], bool]) -> list[str]:
        """Removes images until it is enough. `enough` gets the bytes of all that are left which a worker of this home
        has brought; layers that two of them share count twice. Returns the removed ones, as they were named.

        Raises: TaskFailedInternally, Unavailable.
        """
        removed = list[str]()
        if enough(total := await self._size()):
            return removed
        async for record, image in self._unused():
            if enough(total):
                break
            if await self._remove(record, image):
                total -= int(image["Size"])
                removed.append(next(_names(image), record.image_id))
        return removed

    async def _size(self) -> int:
        return sum([int(image["Size"]) async for _, image in self._brought()])

    async def _brought(self) -> AsyncIterator[tuple[ImageRecord, dict[str, Any]]]:
        """Those that Docker still has, and that have no name of another program or of a build. A record of one that is
        gone is removed."""
        records = await self.store.records()
        recorded = await on_disk(records.all)
        present = {image["Id"]: image for image in await self.store.listed()} if recorded else {}
        for record in recorded:
            if image := present.get(record.image_id):
                if record.names.issuperset(_tags(image)):
                    yield record, image
            elif (lock := await on_disk(partial(records.claim_removal, record.image_id))) is not None:
                await on_disk(partial(records.forget, record.image_id))
                os.close(lock)

    async def _unused(self) -> AsyncIterator[tuple[ImageRecord, dict[str, Any]]]:
        containers = await self.store.ask(partial(self.store.client.api.containers, all=True), "what runs")
        used = {container["ImageID"] for container in containers}
        async for record, image in self._brought():
            if record.image_id not in used:
                yield record, image

    async def _remove(self, record: ImageRecord, image: dict[str, Any]) -> bool:
        """Whether it is gone. Never by force: Docker refuses to remove what a container has been made of meanwhile."""
        records = await self.store.records()
        lock = await on_disk(partial(records.claim_removal, record.image_id))
        if lock is None:
            return False
        try:
            for name in (*_names(image), record.image_id):
                if not await self._remove_name(name):
                    return False
            await on_disk(partial(records.forget, record.image_id))
        finally:
            os.close(lock)
        return True

    async def _remove_name(self, name: str) -> bool:
        client = self.store.client
        try:
            await client.call(client.api.remove_image, name, noprune=True)
        except DockerError as error:
            if error.status == HTTPStatus.CONFLICT:
                return False
            if error.status != HTTPStatus.NOT_FOUND:
                raise TaskFailedInternally(f"Docker cannot remove the image {name}: {error}") from None
        return True


def _tags(image: dict[str, Any]) -> Iterator[str]:
    return (name for name in image["RepoTags"] or () if not name.startswith(_NONE))


def _names(image: dict[str, Any]) -> Iterator[str]:
    """All names, those by digest last: Docker removes these with the last tag of their repository."""
    yield from _tags(image)
    yield from (name for name in image["RepoDigests"] or () if not name.startswith(_NONE))
