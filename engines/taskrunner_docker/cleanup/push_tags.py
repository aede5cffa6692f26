"""The names that are local only while they are pushed.

Docker pushes an image by a local name, which is the author's own, so that it says nothing about its owner. Before the
name is set, a file says so: whose image gets it, and which image had it. At the end the name goes back to that image,
or is removed when there was none.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally, Unavailable, local_failure
from taskrunner.files.private import make_private_folder
from taskrunner.model import RunKey
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.api.inspection import inspect_image
from taskrunner_docker.cleanup.push_lock import PushLock
from taskrunner_docker.cleanup.removal import remove_tag
from taskrunner_docker.registry.references import Reference

T = TypeVar("T")
_DISK_LIMIT = 30.0
"""Seconds for a file of a few bytes. A call that is cancelled is waited for as long."""


@attrs.frozen
class Push:
    """A name that is local for a push."""

    tag: str
    run: str
    image_id: str
    """The image that is pushed."""
    before: str
    """The id of the image that had the name; empty for none."""
    digests: Sequence[str] = ()
    """The names by a digest that the pushed image had before. A push gives it another one."""


@attrs.frozen
class PushRecords:
    """The records of one worker: a file for each name, in a folder of its own."""

    client: DockerClient
    folder: Path

    @asynccontextmanager
    async def recorded(self, tag: str, run: RunKey, image_id: str) -> AsyncIterator[None]:
        """Within the context the name is local, for a push. Waits for another push of the same name.

        Raises: TaskFailedInternally.
        """
        async with PushLock(self.folder.parent).held(tag):
            before = (await self._inspect(tag)).get("Id", "")
            push = Push(tag, str(run), image_id, before, await self._digests_of(image_id))
            record = self._record(tag)
            await _on_disk(f"{record} cannot be written", lambda: _write(record, push))
            try:
                yield
            finally:
                await self.undo(push)

    async def all(self) -> list[Push]:
        """Raises Unavailable."""
        try:
            return await _on_disk(f"{self.folder} cannot be read", lambda: _read(self.folder))
        except TaskFailedInternally as error:
            raise Unavailable(str(error)) from error

    async def of_run(self, run: RunKey) -> list[Push]:
        """Raises Unavailable."""
        return [push for push in await self.all() if push.run == str(run)]

    async def undo(self, push: Push) -> None:
        """Gives a name back, unless another program has given it to another image. Raises TaskFailedInternally."""
        if (await self._inspect(push.tag)).get("Id") == push.image_id:
            if push.before and await self._give_back(push):
                await self._remove_new_digests(push)
            else:
                await remove_tag(self.client, push.tag)
        record = self._record(push.tag)
        await _on_disk(f"{record} cannot be removed", partial(record.unlink, missing_ok=True))

    async def _give_back(self, push: Push) -> bool:
        """False: the image that had the name is gone."""
        name = Reference.parse(push.tag)
        tagging = self.client.call(self.client.api.tag, push.before, name.name, name.tag or "latest", force=True)
        try:
            await tagging
        except DockerError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise TaskFailedInternally(f"{push.tag} cannot be given back to its image: {error}") from None
        except Unavailable as error:
            raise TaskFailedInternally(f"{push.tag} cannot be given back to its image: {error}") from error
        return True

    async def _remove_new_digests(self, push: Push) -> None:
        """They would keep the image. Docker removes them with the last tag of their repository, which stays here."""
        repository = Reference.parse(push.tag).name
        for name in await self._digests_of(push.image_id):
            if name not in push.digests and Reference.parse(name).name == repository:
                await remove_tag(self.client, name)

    async def _digests_of(self, image_id: str) -> list[str]:
        return (await self._inspect(image_id)).get("RepoDigests") or []

    async def _inspect(self, image: str) -> dict[str, Any]:
        """An image by its name or its id; empty for none. Raises TaskFailedInternally."""
        try:
            return await inspect_image(self.client, image) or {}
        except DockerError as error:
            raise TaskFailedInternally(f"Docker cannot say which image is {image}: {error}") from None
        except Unavailable as error:
            raise TaskFailedInternally(f"Docker cannot say which image is {image}: {error}") from error

    def _record(self, tag: str) -> Path:
        return self.folder / Reference.parse(tag).file_name


async def _on_disk(failure: str, work: Callable[[], T]) -> T:
    """Raises TaskFailedInternally, with the failure's name."""
    try:
        return await run_blocking(work, limit=_DISK_LIMIT, doing="the disk", grace=_DISK_LIMIT)
    except OSError as error:
        raise local_failure(f"push: {failure}: {error}", error) from error


def _write(record: Path, push: Push) -> None:
    """In one step: a worker that is killed leaves a whole record or none."""
    make_private_folder(record.parent)
    new = record.parent.parent / f"{record.name}.{secrets.token_hex(4)}"
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, json.dumps(attrs.asdict(push)).encode())
        new.replace(record)
    finally:
        os.close(file)
        new.unlink(missing_ok=True)


def _read(folder: Path) -> list[Push]:
    return [Push(**json.loads(record.read_bytes())) for record in sorted(folder.glob("*"))]
