"""Tasks whose image is an artifact of another task, by a worker in a process of its own."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
import zstandard

from tests.support.saved_image import SavedImage, saved_image
from tests.support.taskcluster.server import TaskclusterServer
from tests.support.taskcluster.site import TaskclusterSite

BASE = "taskrunner-base:latest"


@pytest.fixture
def site(tmp_path: Path, base_image: str) -> Iterator[TaskclusterSite]:
    with TaskclusterServer(claim_timeout=60.0, poll=1.0) as server:
        site = TaskclusterSite(tmp_path, server=server)
        yield site
        site.close()


@pytest.fixture
def api() -> Iterator[docker.APIClient]:
    with closing(docker.APIClient(version="auto")) as client:
        yield client


@pytest.fixture
def saved(api: docker.APIClient) -> Iterator[SavedImage]:
    with saved_image(api) as saved:
        yield saved


def renamed(content: bytes, name: str) -> bytes:
    """The tar, which gives its image this name."""
    new = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=new, mode="w") as written:
        for member in old.getmembers():
            file = old.extractfile(member)
            data = file.read() if file else b""
            if member.name == "manifest.json":
                data = json.dumps([{**json.loads(data)[0], "RepoTags": [name]}]).encode()
            member.size = len(data)
            written.addfile(member, io.BytesIO(data))
    return new.getvalue()


def test_an_image_comes_out_of_an_artifact(site: TaskclusterSite, api: docker.APIClient, saved: SavedImage) -> None:
    """A private one by its task, and a public one by the index: both are one image, which gets no name."""
    before = api.inspect_image(BASE)["Id"]
    tar = renamed(gzip.decompress(saved.content), BASE)
    site.server.create_with_artifact("builder", "private/image.tar", tar)
    site.server.create_with_artifact("packer", "public/image.tar.zst", zstandard.compress(tar))
    site.server.index["public.web.image"] = "packer"
    private = {"type": "task-image", "taskId": "builder", "path": "private/image.tar"}
    public = {"type": "indexed-image", "namespace": "public.web.image", "path": "public/image.tar.zst"}
    tasks = [
        site.create("echo in it", task_id="private", image=private, scopes=["queue:get-artifact:private/*"]),
        site.create("echo in it", task_id="public", image=public),
    ]
    worker = site.start("--max-tasks", "2")
    assert worker.wait() == 0, worker.output
    for task in tasks:
        assert site.server.runs(task) == ["completed"], site.log(task)
        assert "in it\n" in site.log(task)
        assert f"is {saved.image_id}" in site.log(task)
        assert "Signature" not in site.log(task)
    assert (api.inspect_image(BASE)["Id"], api.inspect_image(saved.image_id)["RepoTags"]) == (before, [])
    assert site.server.calls("download") == ["download"] * 2


def test_an_image_that_is_none_or_missing(site: TaskclusterSite) -> None:
    site.server.create_with_artifact("builder", "public/image.tar", b"no tar at all")
    image = {"type": "task-image", "taskId": "builder", "path": "public/image.tar"}
    bad = site.create("true", task_id="bad", image=image)
    missing = site.create("true", task_id="missing", image={**image, "path": "public/none.tar"})
    denied = site.create("true", task_id="denied", image={**image, "path": "private/image.tar"})
    worker = site.start("--max-tasks", "3")
    assert worker.wait() == 0, worker.output
    assert site.server.runs(bad) == ["failed"]
    assert "image: unpack: the archive is no tar" in site.has_log(bad)
    for task, text in [
        (missing, "Artifact not found"),
        (denied, "lacks the scope queue:get-artifact:private/image.tar"),
    ]:
        assert site.server.runs(task) == ["exception/malformed-payload"]
        assert "payload.image.path: " in site.has_log(task)
        assert text in site.has_log(task)
