"""Builds from files in memory, on the real daemon; every image that a test made is removed after it."""

from __future__ import annotations

import asyncio
import stat
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import docker
import pytest

from script.base_image import IMAGE, ensure_base_image
from taskrunner.model import Progress
from taskrunner.testing import MemoryLog
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.buildkit import BuildOutcome, BuildRequest, build
from taskrunner_git import FileEntry

TIMEOUT = 120


class MemoryContext:
    """A build context made of path and contents."""

    def __init__(self, files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> None:
        self.files, self.links = dict(files), dict(links or {})

    def entries(self) -> Iterator[FileEntry]:
        names = {*self.files, *self.links}
        folders = {"/".join(name.split("/")[:depth]) for name in names for depth in range(1, name.count("/") + 1)}
        for path in sorted(names | folders, key=lambda path: path.encode("utf-8", "surrogateescape").split(b"/")):
            if path in folders:
                yield FileEntry(path, stat.S_IFDIR | 0o755)
            elif path in self.links:
                yield FileEntry(path, stat.S_IFLNK | 0o777, link=self.links[path])
            else:
                data = self.files[path]
                yield FileEntry(path, stat.S_IFREG | 0o644, len(data), zlib.crc32(data))

    def read(self, path: str) -> Iterator[bytes]:
        yield self.files[path]


class Builder:
    """Builds, and keeps the log and the progress."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self.label = uuid.uuid4().hex
        self.host = ""
        self.written = MemoryLog()
        self.progress: list[Progress] = []

    @property
    def log(self) -> str:
        return self.written.text

    def request(self, text: str, files: Mapping[str, bytes] | None = None, **more: Any) -> BuildRequest:
        """The request of a build. In the text of its Dockerfile, `BASE` stands for the base image."""
        data = text.replace("BASE", IMAGE).encode()
        context = MemoryContext({"Dockerfile": data, **(files or {})}, more.pop("links", None))
        more.setdefault("labels", {})["taskrunner.test"] = self.label
        more.setdefault("shared_key", self.label)
        return BuildRequest(context, **more)

    async def run(self, request: BuildRequest) -> BuildOutcome:
        client = await DockerClient.connect(self.host)
        try:
            return await build(client, request, log=self.written, progress=self.progress.append)
        finally:
            client.dispose()

    async def logged(self, text: str) -> None:
        """Returns once the text is in the log."""
        async with asyncio.timeout(TIMEOUT):
            await self.written.until(text)

    def build(self, text: str, files: Mapping[str, bytes] | None = None, **more: Any) -> BuildOutcome:
        return asyncio.run(asyncio.wait_for(self.run(self.request(text, files, **more)), TIMEOUT))

    def output(self, outcome: BuildOutcome, *command: str) -> str:
        """The output of a command in the image that was built."""
        assert outcome.image_id, outcome
        container = self.client.containers.create(outcome.image_id, command, network_mode="none")
        try:
            container.start()
            container.wait()
            return str(container.logs().decode())
        finally:
            container.remove(force=True)

    def forget_step(self, text: str) -> None:
        """Removes this build's step with this text from the daemon's cache, and nothing of other builds."""
        for record in self.client.df()["BuildCache"]:
            if text in record["Description"] and self.label in record["Description"]:
                self.client.api.prune_builds(filters={"id": record["ID"]})

    def images(self) -> list[Any]:
        return list(self.client.images.list(all=True, filters={"label": f"taskrunner.test={self.label}"}))


@pytest.fixture
def builder() -> Iterator[Builder]:
    ensure_base_image()
    with closing(docker.from_env(timeout=TIMEOUT)) as client:
        builder = Builder(client)
        yield builder
        for image in builder.images():
            client.images.remove(image.id, force=True)
