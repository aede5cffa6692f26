"""Containers keep the contract that every platform keeps."""

from __future__ import annotations

from typing import Any, ClassVar

import docker
import pytest

from taskrunner.interfaces.attachments import Service
from taskrunner.interfaces.platform import PlatformContext
from taskrunner.testing.conformance.platform.conformance import PlatformConformance
from taskrunner.testing.conformance.platform.harness import Option
from taskrunner.testing.conformance.platform.script import Script
from taskrunner_docker import DockerOptions, DockerPayload, DockerPlatform


@pytest.mark.usefixtures("base_image")
class TestContainers(PlatformConformance):
    supports: ClassVar[frozenset[Option]] = frozenset(
        {"archive", "caches", "exec", "mounts", "proxies", "services", "stdin"}
    )

    async def open(self, context: PlatformContext) -> DockerPlatform:
        self.home = str(context.home)
        return await DockerPlatform.open(DockerOptions(), context)

    def payload(self, script: Script) -> DockerPayload:
        return DockerPayload(image="taskrunner-base", command=("sh", "-c", script.shell), working_dir="/work")

    def service(self, answer: str) -> Service:
        serving = 'mkdir -p /www; printf %s "$ANSWER" >/www/index.html; exec httpd -f -p 8000 -h /www'
        return Service("taskrunner-base", ("sh", "-c", serving), {"ANSWER": answer}, ready=8000)

    def service_that_fails(self) -> Service:
        return Service("taskrunner-base", ("false",), ready=8000)

    async def alive(self) -> list[str]:
        """Without pause containers: what runs in them is nobody's work."""
        return [name for name, labels in self._containers(all=False) if "taskrunner.run" in labels]

    async def left_behind(self) -> list[str]:
        """Without the pool."""
        found = self._containers(all=True)
        return [name for name, labels in found if "taskrunner.run" in labels or "-beside-" in name]

    def _containers(self, **options: Any) -> list[tuple[str, dict[str, str]]]:
        client = docker.APIClient(version="auto")
        try:
            found = client.containers(filters={"label": f"taskrunner.home={self.home}"}, **options)
            return [(container["Names"][0], container["Labels"]) for container in found]
        finally:
            client.close()
