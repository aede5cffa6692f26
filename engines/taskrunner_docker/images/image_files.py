"""Images that come out of files: fetched, checked, and loaded once for all runs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.connections import Connections
from taskrunner.errors import Complaint, MalformedPayload, NotSupported, RunLost, TaskFailed, TaskFailedInternally
from taskrunner.interfaces.platform import RunContext
from taskrunner_docker.api.client import END_TIMEOUT, DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.image_file import ImageFile
from taskrunner_docker.images.housekeeping import Housekeeping
from taskrunner_docker.images.image_archive import ImageArchive
from taskrunner_docker.images.leased_image import LeasedImage
from taskrunner_docker.images.store import ImageStore, on_disk
from taskrunner_source import ArchiveFile, open_archive, open_queue_file

T = TypeVar("T")
REFUSED = "image-refused"
"""The reason of a run whose file has no image that Docker takes."""
LOAD_LIMIT = 3600.0
"""Seconds to load an image: the largest one onto a slow disk."""
SILENCE = 300.0
"""Seconds without a report of Docker, which sends several a second while it unpacks."""
_READ_SIZE = 1 << 16
_MAX_REPORT = 1 << 20
"""Bytes of a report that are kept: its end is what counts."""
_LOADED = re.compile(r"Loaded image(?: ID)?: .*?(sha256:[0-9a-f]{64})")

_loading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
"""One lock for each file: the first run loads it, the others wait and find the image."""


@attrs.frozen
class ImageFiles:
    """Those of one worker."""

    housekeeping: Housekeeping

    @property
    def store(self) -> ImageStore:
        """The images that Docker has."""
        return self.housekeeping.store

    async def provide(self, context: RunContext, file: ImageFile) -> LeasedImage:
        """The image in a file. The caller releases it. Who may not read the file does not get the image that another
        run has loaded from it: it is fetched first, or found where it was downloaded to with the same credentials.

        Raises: TaskFailed (`image-refused`, `download-failed`), MalformedPayload (there is no such secret, or no such
        file of the queue), Unavailable, TaskFailedInternally.
        """
        try:
            archive = await _open(context, file)
            with archive.file:
                async with _loading.setdefault(archive.sha256, asyncio.Lock()):
                    return await self._leased(archive.sha256) or await self._load(archive)
        except TaskFailed as error:
            reason = REFUSED if error.reason == "source-refused" else error.reason
            what = "image" if file.from_queue else "image_file"
            raise TaskFailed(reason, f"{what}: {error.message}") from None

    async def _leased(self, sha256: str) -> LeasedImage | None:
        """The image that was loaded from this file, when Docker still has it."""
        records = await self.store.records()
        image_id = await on_disk(lambda: records.loaded_from(sha256))
        if not image_id:
            return None
        lease = await self.store.lease(image_id)
        leased = LeasedImage({"Id": image_id}, "", lease)
        try:
            if found := await self.store.inspect(image_id):
                return attrs.evolve(leased, document=found)
        except BaseException:
            leased.release()
            raise
        leased.release()
        return None

    async def _load(self, archive: ArchiveFile) -> LeasedImage:
        connections = Connections()
        try:
            image = await _in_thread(partial(ImageArchive.check, archive.file, connections), connections)
            async with self.store.bringing(image.image_id):
                loaded = await _in_thread(partial(_load, self.store.client, image), connections)
        finally:
            connections.close()
        records = await self.store.records()
        await on_disk(lambda: records.note_loaded(archive.sha256, loaded))
        self.housekeeping.schedule()
        if leased := await self._leased(archive.sha256):
            return leased
        raise TaskFailedInternally(f"{archive.name} was loaded, and is gone: does another program remove images?")


async def _open(context: RunContext, file: ImageFile) -> ArchiveFile:
    if not file.from_queue:
        return await open_archive(context, file.source)
    try:
        return await open_queue_file(context, file.from_queue)
    except NotSupported as error:
        raise MalformedPayload(Complaint("image_file.from_queue", str(error), "write `url` or `path`")) from None


async def _in_thread(work: Callable[[], T], connections: Connections) -> T:
    try:
        return await run_blocking(
            work, limit=LOAD_LIMIT, doing="loading an image", interrupt=connections.interrupt, grace=END_TIMEOUT
        )
    except OverLimit as error:
        raise TaskFailedInternally(str(error)) from None


def _load(client: DockerClient, image: ImageArchive) -> str:
    """The id of the image that Docker has now. Blocks. Raises: TaskFailed, Unavailable, Interrupted."""
    headers, report = [("Content-Type", "application/x-tar")], bytearray()
    try:
        with client.exchange(
            image.connections, "POST", "/images/load", headers=headers, body=image.pieces(), silence=SILENCE
        ) as answer:
            while data := answer.read1(_READ_SIZE):
                report += data
                del report[:-_MAX_REPORT]
    except DockerError as error:
        raise TaskFailed(REFUSED, f"Docker does not load it: {error}") from None
    return _loaded_id(report.decode(errors="replace"))


def _loaded_id(report: str) -> str:
    for line in reversed(report.splitlines()):
        try:
            document = json.loads(line)
        except ValueError:  # the first line, when it was cut
            continue
        if "error" in document:
            raise TaskFailed(REFUSED, f"Docker does not load it: {document['error']}")
        if found := _LOADED.search(str(document.get("stream", ""))):
            return found[1]
    raise RunLost("Docker ended in the middle of loading an image")
