"""The result of a build, and its delivery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakValueDictionary

from taskrunner.errors import TaskFailedInternally
from taskrunner.interfaces.results import Entry, Results
from taskrunner.model import Document
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.build.job import BuildJob
from taskrunner_docker.cleanup.push_tags import PushRecords
from taskrunner_docker.cleanup.removal import remove_tag
from taskrunner_docker.registry.references import Reference

_NOT_FOUND = 404
_push_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
"""One lock for each name that is being pushed: Docker pushes by name, and two builds may push the same."""


class BuildResults(Results):
    """A built image under the name of its run, or the failure to build one.

    Delivered without `push`, the image gets the author's tags and stays. A name of another image moves to this one, as
    with `docker build`. That image is removed when it was its last name and nothing uses it: otherwise each build of
    `app:latest` would leave a nameless one. With `push`, a tag is local only while it is pushed: the registry has the
    image, and BuildKit's cache makes the next build fast.
    """

    def __init__(
        self, job: BuildJob, commit: str, *, exit_code: int, image_id: str = "", reason: str = "", message: str = ""
    ) -> None:
        self._job, self._commit, self._image_id = job, commit, image_id
        self.exit_code, self.reason, self.message = exit_code, reason, message

    async def archive_file(self, path: str) -> Entry:
        raise FileNotFoundError(f"{path}: a build leaves an image and no files")

    async def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        raise FileNotFoundError(f"{path}: a build leaves an image and no files")
        yield

    async def deliver(self) -> Document:
        """`{"commit": …, "image_id": …, "images": [{"name": …, "digest": …}]}`; without `push`, a digest is None."""
        deliver = self._push if self._job.spec.push else self._tag_locally
        images = [{"name": tag, "digest": await deliver(tag)} for tag in self._job.spec.tags]
        return {"commit": self._commit, "image_id": self._image_id, "images": images}

    async def dispose(self) -> None:
        await remove_tag(self._job.client, self._job.tag)

    async def _push(self, tag: str) -> str:
        records = PushRecords(self._job.client, self._job.labels.push_folder)
        async with _push_locks.setdefault(tag, asyncio.Lock()), records.recorded(tag):
            await self._set_tag(tag)
            digest = await self._job.transfers.push(tag)
            await self._check_tag(tag)
        return digest

    async def _tag_locally(self, tag: str) -> None:
        before = await self._inspect(tag)
        await self._set_tag(tag)
        self._job.context.log.say(f"tagged {tag}")
        if before and before["Id"] != self._image_id:
            await self._remove_untagged(before["Id"])

    async def _set_tag(self, tag: str) -> None:
        name = Reference.parse(tag)
        api = self._job.client.api
        try:
            await self._job.client.call(api.tag, self._image_id, name.name, name.tag or "latest", force=True)
        except DockerError as error:
            raise TaskFailedInternally(f"Docker cannot tag the image {tag}: {error}") from None

    async def _check_tag(self, tag: str) -> None:
        """Other programs tag images, too: the digest of another image must not stand in this result."""
        now = await self._inspect(tag)
        if now is None or now["Id"] != self._image_id:
            raise TaskFailedInternally(
                f"another program gave {tag} to another image while it was pushed: push it again"
            )

    async def _remove_untagged(self, image_id: str) -> None:
        image = await self._inspect(image_id)
        if image and not image["RepoTags"] and not image["RepoDigests"]:
            try:
                await self._job.client.call(self._job.client.api.remove_image, image_id)
            except DockerError as error:
                self._job.context.log.say(f"the previous image of that name stays: {error}")

    async def _inspect(self, name: str) -> dict[str, Any] | None:
        try:
            image: dict[str, Any] = await self._job.client.call(self._job.client.api.inspect_image, name)
        except DockerError as error:
            if error.status == _NOT_FOUND:
                return None
            raise TaskFailedInternally(f"Docker cannot look at the image {name}: {error}") from None
        return image
