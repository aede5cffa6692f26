"""Caches for containers: folders on this machine that are mounted into them."""

from __future__ import annotations

import logging
from pathlib import Path
from tarfile import TarError
from typing import TYPE_CHECKING

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.errors import TaskrunnerError
from taskrunner.files.plain_folder import measure
from taskrunner.files.untrusted import remove_folder
from taskrunner.interfaces.caches import CacheFolder, CacheUsage

if TYPE_CHECKING:
    from taskrunner_docker.api.client import DockerClient
    from taskrunner_docker.cleanup.labels import WorkerLabels

WALK_LIMIT = 1200.0
"""Seconds for one walk through a cache, which may hold millions of files: as long as the clean-up of a run may take."""
WALK_GRACE = 5.0
"""Seconds that a cancelled removal is waited for; its thread goes on until everything is removed."""
_log = logging.getLogger(__name__)


class DockerCacheFolder(CacheFolder):
    """A folder whose files belong to the user of a container, most often root."""

    def __init__(self, name: str, path: Path, client: DockerClient, labels: WorkerLabels) -> None:
        self.name, self.path = name, path
        self._client, self._labels = client, labels

    async def usage(self) -> CacheUsage:
        return await run_blocking(
            lambda: measure(self.path), limit=WALK_LIMIT, doing=f"measuring the cache {self.name}"
        )

    async def delete(self) -> None:
        """Removes it. Docker first changes the owner of the folders that this worker, not being root, may not empty."""
        from taskrunner_docker.api.docker_errors import DockerError
        from taskrunner_docker.container.ownership import take_folders

        try:
            if await self._remove():
                await take_folders(self._client, self.path, self._labels)
        except (DockerError, TaskrunnerError, TarError, OSError) as error:
            _log.warning("files of another owner in the cache %s stay: %s", self.name, error)
        for line in await self._remove():
            _log.warning("the cache %s could not be removed: %s", self.name, line)

    async def _remove(self) -> list[str]:
        try:
            return await run_blocking(
                lambda: remove_folder(self.path), limit=WALK_LIMIT, doing="removing its files", grace=WALK_GRACE
            )
        except OverLimit as error:
            return [str(error)]
