"""Keeps Docker's disk within the limits of the configuration: images that were brought, and BuildKit's cache.

It works in the background, after an image was brought, after a build, and when the disk runs full.
"""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial

import attrs

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.model import Health
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.images.collection import ImageCollection
from taskrunner_docker.images.store import ImageStore, on_disk
from taskrunner_docker.options import DockerOptions

_log = logging.getLogger(__name__)
PRUNE_LIMIT = 600.0
"""Seconds to remove parts of BuildKit's cache: some gigabytes of small files."""


@attrs.define(eq=False)
class Housekeeping:
    """Of one worker."""

    store: ImageStore
    options: DockerOptions
    _working: asyncio.Task[None] | None = None
    _again: bool = False
    _lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    def schedule(self) -> None:
        """Something was brought or built. Returns at once; calls during the work are one further round."""
        if self.options.image_cache is None and self.options.build_cache is None:
            return
        self._again = True
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())

    async def check_disk(self) -> Health:
        """Whether Docker's disk has room, after what is not in use was removed. Raises nothing."""
        try:
            free = await self._free()
            if free is not None and free < self.options.min_free_disk:
                await self._make_room()
                free = await self._free()
        except TaskFailedInternally as error:
            return Health(fit=False, why=str(error))
        except Unavailable:
            return Health(fit=True)  # the watch of the daemon says so
        if free is None or free >= self.options.min_free_disk:
            return Health(fit=True)
        folder, least = await self.store.data_root(), self.options.min_free_disk
        return Health(fit=False, why=f"only {free:,} bytes are free for Docker in {folder}; at least {least:,} must be")

    async def dispose(self) -> None:
        """Ends the work. Called once."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait({self._working})

    async def _work(self) -> None:
        while self._again:
            self._again = False
            try:
                async with self._lock:
                    await self._collect()
                    await self._prune_build_cache()
            except (TaskFailedInternally, Unavailable) as error:
                _log.warning("Docker's disk is not tidied: %s", error)

    async def _collect(self) -> None:
        collection, most = ImageCollection(self.store), self.options.image_cache
        if most is not None:
            await collection.settle()
            _tell(await collection.remove_until(lambda total: total <= most))

    async def _make_room(self) -> None:
        """Removes images one by one, until there is room."""
        async with self._lock:
            collection, folder = ImageCollection(self.store), await self.store.data_root()
            await collection.settle()
            _tell(await collection.remove_until(lambda _: _free_in(folder) >= self.options.min_free_disk))

    async def _prune_build_cache(self) -> None:
        most, api = self.options.build_cache, self.store.client.api
        if most is None:
            return
        prune = partial(api.prune_builds, keep_storage=most, all=True)
        try:
            await self.store.client.call_within(PRUNE_LIMIT, prune)
        except DockerError as error:
            raise TaskFailedInternally(f"BuildKit's cache cannot be pruned: {error}") from None

    async def _free(self) -> int | None:
        """Bytes on Docker's disk; None where this worker does not see it, as in a container of its own."""
        folder = await self.store.data_root()
        try:
            return await on_disk(partial(_free_in, folder))
        except TaskFailedInternally:
            return None


def _free_in(folder: str) -> int:
    system = os.statvfs(folder)
    return system.f_bavail * system.f_frsize


def _tell(removed: list[str]) -> None:
    for name in removed:
        _log.info("removed the image %s, which nothing uses", name)
