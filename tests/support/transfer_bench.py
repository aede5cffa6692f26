"""Pulls and pushes on a real Docker, with their log and progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from taskrunner.model import Progress, Secret
from taskrunner.testing import MemoryLog
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.options import RegistryOptions
from taskrunner_docker.registry.logins import Registries
from taskrunner_docker.registry.transfer import Transfers

PASSWORD = "s3cret-passw0rd"


class TransferBench:
    """Transfers with their log and progress."""

    def __init__(self, logins: Mapping[str, RegistryOptions] | None = None, docker: str = "") -> None:
        self.logins, self.docker = logins or {}, docker
        self.log, self.reported = MemoryLog(), list[Progress]()

    def run(self, work: Callable[[Transfers], Coroutine[Any, Any, Any]]) -> Any:
        async def main() -> Any:
            client = await DockerClient.connect(self.docker)
            registries = Registries(client, self.logins, lambda secret: secret.literal, self.log.mask)
            try:
                return await work(Transfers(client, registries, self.log.say, self.reported.append))
            finally:
                client.dispose()

        return asyncio.run(main())


def login(host: str, password: str = PASSWORD) -> TransferBench:
    return TransferBench({host: RegistryOptions("ci", Secret(literal=password))})
