"""Containers keep the contract that every platform keeps."""

from __future__ import annotations

from typing import ClassVar

import docker
import pytest

from taskrunner.interfaces.platform import PlatformContext
from taskrunner.testing.conformance.platform import PlatformConformance
from taskrunner.testing.conformance.platform_harness import Option
from taskrunner.testing.conformance.script import Script
from taskrunner_docker import DockerOptions, DockerPayload, DockerPlatform


@pytest.mark.usefixtures("base_image")
class TestContainers(PlatformConformance):
    supports: ClassVar[frozenset[Option]] = frozenset({"caches", "exec", "stdin"})

    async def open(self, context: PlatformContext) -> DockerPlatform:
        self.home = str(context.home)
        return await DockerPlatform.open(DockerOptions(), context)

    def payload(self, script: Script) -> DockerPayload:
        return DockerPayload(image="taskrunner-base", command=("sh", "-c", script.shell), working_dir="/work")

    async def alive(self) -> list[str]:
        client = docker.APIClient(version="auto")
        try:
            running = client.containers(filters={"label": f"taskrunner.home={self.home}"})
            return [container["Id"] for container in running]
        finally:
            client.close()
