"""Providing the content of a mount: out of the cache, or fetched into it.

A copy of the cache has `content`, a file or a folder, and `sealed`, which says what it looked like when it was
complete. It is filled under an exclusive lease, so that a worker that dies in the middle leaves a dirty copy, and used
under shared ones, so that no eviction removes it from under a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.connections import Connections
from taskrunner.content.artifact_origin import Artifacts
from taskrunner.content.origin import ContentOrigin, FileOrigin, TextOrigin, UrlOrigin
from taskrunner.content.seal import is_sealed, seal
from taskrunner.errors import TaskFailedInternally, local_failure
from taskrunner.files.downloads.run_download import masked_location
from taskrunner.files.unpack import unpack
from taskrunner.interfaces.caches import Lease
from taskrunner.interfaces.platform import RunContext
from taskrunner.model import MountSpec

T = TypeVar("T")

UNPACK_LIMIT = 3600.0
"""Seconds to unpack and seal: a million small files, on a slow disk."""
CHECK_LIMIT = 600.0
"""Seconds to look at kept content: 4 GB, or a million files, of a slow disk."""
GRACE = 30.0
"""Seconds that a cancelled call waits for its thread, which stops at the next piece."""

_FOR_ONE_RUN = "mount"
"""The name of the cache of content without a key. Each copy is deleted with its run."""


@attrs.frozen
class Content:
    """What a run mounts. It stays as it is until the release."""

    path: Path
    lease: Lease
    kept: bool
    """Whether it stays for later runs."""

    async def release(self) -> None:
        """The run is over, however it has ended. Raises nothing."""
        await (self.lease.commit() if self.kept else self.lease.discard())


@attrs.frozen
class ContentSource:
    """Provides the content of one run's mounts."""

    context: RunContext
    artifacts: Artifacts

    async def provide(self, mount: MountSpec) -> Content:
        """The caller releases it.

        Raises: TaskFailed, TaskFailedInternally, MalformedPayload (there is no such secret), NotSupported, Unavailable.
        """
        origin = await self._origin(mount)
        if not origin.key:
            return Content(*await self._fetched(_FOR_ONE_RUN, origin, mount), kept=False)
        return await self._kept(origin, mount)

    async def _origin(self, mount: MountSpec) -> ContentOrigin:
        context = self.context
        if mount.content:
            return TextOrigin(mount.content)
        if mount.artifact:
            return await self.artifacts.find(mount)
        if mount.file:
            file = FileOrigin(context.source_options.files, mount.file, mount.sha256.lower())
            await _on_disk(lambda _: file.check(), "opening a file")
            return file
        return UrlOrigin(masked_location(context, mount.url, mount.token), mount.sha256.lower())

    async def _kept(self, origin: ContentOrigin, mount: MountSpec) -> Content:
        """The first run fetches it, those that have waited find it, also runs of other workers on this home."""
        caches, name = self.context.caches, _cache_name(origin, mount)
        async with caches.filling(name):
            while (content := await self._found(name)) is None:
                _, lease = await self._fetched(name, origin, mount)
                await lease.commit()
        return content

    async def _found(self, name: str) -> Content | None:
        """What an earlier run has fetched, if it is still the same."""
        lease = await self.context.caches.shared(name)
        path = lease.folder.path
        try:
            if await _on_disk(partial(is_sealed, path / "content", path / "sealed"), "checking a mount"):
                return Content(path / "content", lease, kept=True)
        except BaseException:
            await lease.commit()
            raise
        await lease.discard()
        return None

    async def _fetched(self, name: str, origin: ContentOrigin, mount: MountSpec) -> tuple[Path, Lease]:
        lease = await self.context.caches.exclusive(name)
        try:
            await self._fill(lease.folder.path, origin, mount)
        except BaseException:
            await lease.discard()
            raise
        return lease.folder.path / "content", lease

    async def _fill(self, folder: Path, origin: ContentOrigin, mount: MountSpec) -> None:
        content = folder / "content"
        if any(folder.iterdir()):  # noqa: ASYNC240  one folder, just leased
            return  # filled before, and found by the next look
        if not mount.unpack:
            await origin.save(self.context, content)
        else:
            await origin.save(self.context, folder / "archive")
            await _on_disk(partial(_unpack, folder / "archive", content), "unpacking a mount", UNPACK_LIMIT)
        sealing = partial(seal, content, folder / "sealed", executable=mount.executable)
        await _on_disk(sealing, "sealing a mount", UNPACK_LIMIT)


def _unpack(archive: Path, content: Path, connections: Connections) -> None:
    content.mkdir()
    with archive.open("rb", buffering=0) as file:
        unpack(file, content, connections)
    archive.unlink()


def _cache_name(origin: ContentOrigin, mount: MountSpec) -> str:
    parts = [*origin.key, "unpacked" if mount.unpack else "executable" if mount.executable else "file"]
    return f"mount-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"


async def _on_disk(work: Callable[[Connections], T], doing: str, limit: float = CHECK_LIMIT) -> T:
    """Raises the errors of `work`, TaskFailedInternally for those of the disk."""
    connections = Connections()
    try:
        return await run_blocking(
            partial(work, connections), limit=limit, doing=doing, interrupt=connections.interrupt, grace=GRACE
        )
    except OverLimit as error:
        raise TaskFailedInternally(f"mounts: {error}") from None
    except OSError as error:
        raise local_failure(f"mounts: {doing} failed: {error.strerror}", error) from None
