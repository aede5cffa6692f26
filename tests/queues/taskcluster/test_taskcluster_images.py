"""Images that are artifacts: where they are, who may have them, and what an author is told who may not."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from taskrunner.errors import MalformedPayload, NotSupported, TaskFailed, Unavailable
from taskrunner.interfaces.queue_file import QueueFile
from taskrunner.model import Claim, Source
from taskrunner.queues.taskcluster.queue import TaskclusterQueue
from taskrunner_source import open_queue_file
from tests.support.source_run import SourceRun
from tests.support.taskcluster.opened import PAYLOAD, claimed, opened
from tests.support.taskcluster.server import TaskclusterServer

PUBLIC, PRIVATE = "public/image.tar.zst", "private/image.tar"
TASK_IMAGE = {"type": "task-image", "taskId": "builder", "path": PUBLIC}
INDEXED = {"type": "indexed-image", "namespace": "public.web.image", "path": PUBLIC}


@pytest.fixture
def server() -> Iterator[TaskclusterServer]:
    with TaskclusterServer(poll=0.1) as server:
        server.index["public.web.image"] = server.index["web.image"] = "builder"
        yield server


def with_image(image: Any) -> dict[str, Any]:
    return {**PAYLOAD, "image": image}


async def located(queue: TaskclusterQueue, claim: Claim) -> QueueFile:
    [name] = {claim.document["image_file"]["from_queue"]}  # type: ignore[index,call-overload]
    return await queue.locate(lambda: claim, name)


def opening(server: TaskclusterServer, run: SourceRun, image: Any, *scopes: str) -> bytes:
    """What a run gets as its image."""

    async def main() -> bytes:
        async with opened(server) as queue:
            number = len(server.tasks.known)
            claim = await claimed(queue, server, with_image(image), task_id=f"t{number}", scopes=list(scopes))
            context = attrs.evolve(run.context(Source()), locate=lambda name: queue.locate(lambda: claim, name))
            archive = await open_queue_file(context, "image")
            with archive.file:
                return archive.file.read() if not archive.file.seek(0) else b""

    return asyncio.run(main())


@pytest.mark.parametrize("image", [TASK_IMAGE, INDEXED], ids=["task-image", "indexed-image"])
def test_an_image_is_downloaded_once(server: TaskclusterServer, tmp_path: Path, image: Any) -> None:
    server.create_with_artifact("builder", PUBLIC, b"the image")
    run = SourceRun(tmp_path)
    assert [opening(server, run, image) for _ in range(2)] == [b"the image"] * 2
    assert server.calls("getArtifact", "download") == ["getArtifact", "download", "getArtifact"]
    assert [seen.client_id for seen in server.seen if seen.call in {"getArtifact", "findTask"}][-1] == "anonymous"
    assert f"builder/0/{PUBLIC} has the sha256 {hashlib.sha256(b'the image').hexdigest()}" in run.log.text
    assert "Signature" not in run.log.text


def test_a_later_run_of_the_task_has_another_image(server: TaskclusterServer, tmp_path: Path) -> None:
    server.create_with_artifact("builder", PUBLIC, b"the first")
    run = SourceRun(tmp_path)
    assert opening(server, run, TASK_IMAGE) == b"the first"
    with server.changing():
        task = server.tasks.find("builder")
        task.runs.append(attrs.evolve(task.runs[0], artifacts={PUBLIC: {"storageType": "s3", "body": b"the second"}}))
    assert opening(server, run, TASK_IMAGE) == b"the second"


def test_a_copy_that_has_changed_is_downloaded_again(server: TaskclusterServer, tmp_path: Path) -> None:
    server.create_with_artifact("builder", PUBLIC, b"the image")
    run = SourceRun(tmp_path)
    opening(server, run, TASK_IMAGE)
    [copy] = (tmp_path / "caches").rglob("archive")
    copy.write_bytes(b"the imag")
    assert opening(server, run, TASK_IMAGE) == b"the image"


def test_a_private_image_needs_its_scope_each_time(server: TaskclusterServer, tmp_path: Path) -> None:
    """Also for a run that would find the copy of another one."""
    server.create_with_artifact("builder", PRIVATE, b"secret")
    image, run = {**TASK_IMAGE, "path": PRIVATE}, SourceRun(tmp_path)
    assert opening(server, run, image, f"queue:get-artifact:{PRIVATE}") == b"secret"
    with pytest.raises(
        MalformedPayload, match=r"image\.path: the task lacks the scope queue:get-artifact:private/image\.tar"
    ):
        opening(server, run, image, "queue:get-artifact:private/other")
    assert [seen.client_id for seen in server.seen if seen.call == "download"] == [""], "the storage gets no header"


def test_a_private_name_of_the_index_needs_its_scope(server: TaskclusterServer, tmp_path: Path) -> None:
    server.create_with_artifact("builder", PUBLIC, b"the image")
    image = {**INDEXED, "namespace": "web.image"}
    assert opening(server, SourceRun(tmp_path), image, "index:find-task:web.*") == b"the image"
    with pytest.raises(MalformedPayload, match=r"image\.namespace: the task lacks the scope index:find-task:web"):
        opening(server, SourceRun(tmp_path / "2"), image)


ERROR = {"storageType": "error", "reason": "file-missing-on-worker", "message": "docker save failed"}
MISSING: dict[str, tuple[Any, str]] = {
    "no task": ({**TASK_IMAGE, "taskId": "nobody"}, r"payload\.image: there is no task nobody that has run"),
    "no artifact": (
        {**TASK_IMAGE, "path": "public/none"},
        r"payload\.image\.path: run 0 of task builder has no such file: Artifact not found",
    ),
    "an error artifact": ({**TASK_IMAGE, "path": "public/error"}, r"has no such file: docker save failed \(HTTP 424\)"),
    "no such index": (
        {**INDEXED, "namespace": "public.none"},
        r"image\.namespace: the index has no such task",
    ),
}


@pytest.mark.parametrize(("image", "message"), MISSING.values(), ids=MISSING)
def test_an_image_that_is_missing_is_the_authors(server: TaskclusterServer, image: Any, message: str) -> None:
    server.create_with_artifact("builder", "public/error", **ERROR)

    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server, with_image(image))
            with pytest.raises(MalformedPayload, match=message):
                await located(queue, claim)

    asyncio.run(main())


@pytest.mark.parametrize("call", ["findTask", "status", "getArtifact"])
@pytest.mark.parametrize("kind", ["error", "drop", "busy", "garbage"])
def test_an_outage_is_nobodys_fault(server: TaskclusterServer, call: str, kind: Any) -> None:
    server.create_with_artifact("builder", PUBLIC, b"the image")

    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server, with_image(INDEXED))
            server.fault(call, kind, body=b"[1]", times=2 if kind == "drop" else 1)  # aiohttp sends a GET again
            with pytest.raises(Unavailable):
                await located(queue, claim)
            assert (await located(queue, claim)).url.startswith(f"{server.url}/s3/")

    asyncio.run(main())


def test_links_and_references_are_followed(server: TaskclusterServer) -> None:
    elsewhere = "https://files.example/image.tar"
    server.create_with_artifact("builder", "public/there", storageType="reference", url=elsewhere)
    image = {**TASK_IMAGE, "path": "public/there"}

    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server, with_image(image))
            assert (await located(queue, claim)).url == elsewhere
            loop = f"{server.url}/api/queue/v1/task/builder/runs/0/artifacts/public%2Fthere"
            server.tasks.find("builder").runs[0].artifacts["public/there"]["url"] = loop
            with pytest.raises(MalformedPayload, match="leads to no file"):
                await located(queue, claim)

    asyncio.run(main())


def test_a_redirect_to_what_is_no_url_fails_the_run(server: TaskclusterServer, tmp_path: Path) -> None:
    server.create_with_artifact("builder", PUBLIC, storageType="reference", url="file:///etc/passwd")
    with pytest.raises(TaskFailed, match="is not one of http:// or https://"):
        opening(server, SourceRun(tmp_path), TASK_IMAGE)


def test_a_run_with_a_named_image_has_no_file_of_its_queue(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            with pytest.raises(NotSupported):
                await queue.locate(lambda: claim, "image")

    asyncio.run(main())
