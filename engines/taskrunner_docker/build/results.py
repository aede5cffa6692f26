"""The result of a build, and its delivery."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from taskrunner.errors import TaskFailed, TaskFailedInternally
from taskrunner.interfaces.results import Entry, Results
from taskrunner.model import Document
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.build.destination import find_destination
from taskrunner_docker.build.job import BuildJob
from taskrunner_docker.cleanup.push_tags import PushRecords
from taskrunner_docker.cleanup.removal import remove_tag
from taskrunner_docker.registry.references import Reference


class BuildResults(Results):
    """A built image under the name of its run, or the failure to build one.

    Delivered without `push`, the image gets the author's tags and stays. A name of another image moves to this one, as
    with `docker build`; that image stays too, until Docker's disk needs room. With `push`, a tag is local only while it
    is pushed: the registry has the image, and BuildKit's cache makes the next build fast.
    """

    def __init__(
        self,
        job: BuildJob,
        source: Mapping[str, str],
        *,
        exit_code: int,
        image_id: str = "",
        reason: str = "",
        message: str = "",
    ) -> None:
        """`source` says what exactly was built."""
        self._job, self._source, self._image_id = job, source, image_id
        self.exit_code, self.reason, self.message = exit_code, reason, message

    async def archive_file(self, path: str) -> Entry:
        raise FileNotFoundError(f"{path}: a build leaves an image and no files")

    async def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        raise FileNotFoundError(f"{path}: a build leaves an image and no files")
        yield

    async def archive(self, path: str = ".") -> Entry:
        raise FileNotFoundError(f"{path}: a build leaves an image and no files")

    async def deliver(self) -> Document:
        """`{"commit": …, "image_id": …, "images": [{"name": …, "digest": …}]}`; without `push`, a digest is None. An
        archive has `sha256` instead of `commit`."""
        deliver = self._push if self._job.spec.push else self._tag_locally
        images: list[Document] = []
        self._job, names = await find_destination(self._job)
        for tag in names:
            try:
                images.append({"name": tag, "digest": await deliver(tag)})
            except TaskFailed as error:
                raise TaskFailed(error.reason, f"{error}{_pushed(images)}") from None
        return {**self._source, "image_id": self._image_id, "images": images}

    async def dispose(self) -> None:
        await remove_tag(self._job.client, self._job.tag)
        self._job.housekeeping.schedule()

    async def _push(self, tag: str) -> str:
        records = PushRecords(self._job.client, self._job.labels.push_folder)
        async with records.recorded(tag, self._job.context.run, self._image_id):
            await self._set_tag(tag)
            digest = await self._job.transfers.push(tag)
            await self._check_tag(tag)
        return digest

    async def _tag_locally(self, tag: str) -> None:
        await self._job.housekeeping.store.note(self._image_id)
        await self._set_tag(tag)
        self._job.context.log.say(f"tagged {tag}")

    async def _set_tag(self, tag: str) -> None:
        name = Reference.parse(tag)
        api = self._job.client.api
        try:
            await self._job.client.call(api.tag, self._image_id, name.name, name.tag or "latest", force=True)
        except DockerError as error:
            raise TaskFailedInternally(f"Docker cannot tag the image {tag}: {error}") from None

    async def _check_tag(self, tag: str) -> None:
        """Other programs tag images, too: the digest of another image must not stand in this result."""
        now = await self._job.housekeeping.store.inspect(tag)
        if now is None or now["Id"] != self._image_id:
            raise TaskFailedInternally(
                f"another program gave {tag} to another image while it was pushed: push it again"
            )


def _pushed(images: Sequence[Document]) -> str:
    """What the registries have by now, for the message of a failure."""
    listed = ", ".join(f"{image['name']} ({image['digest']})" for image in images if image["digest"])
    return f"; pushed before it: {listed}" if listed else ""
