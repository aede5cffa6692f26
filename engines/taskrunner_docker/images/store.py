"""The images of one daemon, with the records of those that the workers of this home have brought."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally, Unavailable, local_failure
from taskrunner_docker.api.client import CALL_TIMEOUT, DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.api.inspection import inspect_image
from taskrunner_docker.images.records import ImageRecords

T = TypeVar("T")
_DISK_LIMIT = 30.0
_LEASE_LIMIT = CALL_TIMEOUT + 30.0
"""Seconds for a lease: the image may just be removed, which is one call."""
_NO_NAME = re.compile(r"[^A-Za-z0-9-]+")


@attrs.define(eq=False)
class ImageStore:
    """Shared by all runs of a worker."""

    client: DockerClient
    home: Path
    _info: dict[str, Any] = attrs.field(factory=dict)

    async def records(self) -> ImageRecords:
        """Those of this daemon: a home may have been used with another one before.

        Raises: TaskFailedInternally, Unavailable.
        """
        daemon = str((await self._daemon())["ID"])
        return ImageRecords(self.home / "docker" / "images" / _NO_NAME.sub("", daemon))

    async def data_root(self) -> str:
        """Docker's folder. Raises: TaskFailedInternally, Unavailable."""
        return str((await self._daemon())["DockerRootDir"])

    async def _daemon(self) -> dict[str, Any]:
        if not self._info:
            self._info = await self.ask(self.client.api.info, "which daemon it is")
        return self._info

    async def inspect(self, name: str) -> dict[str, Any] | None:
        """What Docker says of an image; None when it has none of that name.

        Raises: TaskFailedInternally, Unavailable.
        """
        try:
            return await inspect_image(self.client, name)
        except DockerError as error:
            raise TaskFailedInternally(f"Docker cannot say whether it has {name}: {error}") from None

    async def listed(self) -> list[dict[str, Any]]:
        """All images, in short. Raises: TaskFailedInternally, Unavailable."""
        found: list[dict[str, Any]] = await self.ask(self.client.api.images, "which images it has")
        return found

    @asynccontextmanager
    async def bringing(self, *names: str) -> AsyncIterator[None]:
        """Within the context an image is brought that has one of these names afterwards. It is recorded as ours unless
        Docker had it before. Raises: TaskFailedInternally, Unavailable.
        """
        records = await self.records()
        known = [str(image["Id"]) for image in await self.listed()]
        path, file = await on_disk(lambda: records.begin(names, known))
        try:
            try:
                yield
            except BaseException:
                with suppress(TaskFailedInternally, Unavailable):  # the file stays, for the next collection
                    await self.settle(path, names, known)
                raise
            await self.settle(path, names, known)
        finally:
            os.close(file)

    async def settle(self, path: Path, names: Sequence[str], known: Collection[str]) -> None:
        """Records the images that have one of these names, unless they were known, and removes the file that said that
        they would come. Raises: as above.
        """
        records = await self.records()
        found = [image for name in names if (image := await self.inspect(name)) is not None]
        for image_id in {str(image["Id"]) for image in found}.difference(known):
            await on_disk(partial(records.note, image_id, names))
        await on_disk(partial(path.unlink, missing_ok=True))

    async def note(self, image_id: str) -> None:
        """An image was made here that nothing else has. It counts as brought once it has no name any more.

        Raises: TaskFailedInternally, Unavailable.
        """
        records = await self.records()
        await on_disk(partial(records.note, image_id, ()))

    async def lease(self, image_id: str) -> int | None:
        """As `ImageRecords.lease`. Raises: TaskFailedInternally, Unavailable."""
        records = await self.records()
        return await on_disk(lambda: records.lease(image_id), _LEASE_LIMIT, discard=_close)

    async def ask(self, question: Callable[[], Any], what: str) -> Any:
        """The answer of Docker to a question. Raises: TaskFailedInternally, Unavailable."""
        try:
            return await self.client.call(question)
        except DockerError as error:
            raise TaskFailedInternally(f"Docker cannot say {what}: {error}") from None


async def on_disk(work: Callable[[], T], limit: float = _DISK_LIMIT, discard: Callable[[T], None] | None = None) -> T:
    """Calls a method of `ImageRecords`. Raises TaskFailedInternally."""
    try:
        return await run_blocking(
            work, limit=limit, doing="a record of an image", discard=discard, error=TaskFailedInternally
        )
    except OSError as error:
        raise local_failure(f"the record of an image cannot be read or written: {error.strerror}", error) from error


def _close(late: int | None) -> None:
    if late is not None:
        os.close(late)
