"""A pause container: it holds the network namespace that the containers of one run share."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Literal

import attrs

from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.pod.pause_image import ensure_pause_image
from taskrunner_docker.pod.pause_program import NAME

PodNetwork = Literal["bridge", "none"]
"""What a namespace has beside its loopback interface: an interface on Docker's default network, or nothing."""


@attrs.frozen
class Pause:
    """One that runs."""

    container: str
    """Its id."""
    network: PodNetwork
    pid: int
    """Of its process, as the daemon's machine numbers it."""
    shared_files: Mapping[str, bytes]
    """The files of `/etc` that Docker makes for it, which the containers in its namespace have as well, and may write
    to: hosts, hostname, resolv.conf."""

    @property
    def is_in_sight(self) -> bool:
        """Whether this process sees it in `/proc`. Not when the daemon runs in another pid namespace, or in a virtual
        machine: the number is then another process's, or nobody's."""
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_bytes() == f"/{NAME}\0".encode()
        except OSError:
            return False


@attrs.define
class PauseMaker:
    """Makes the pause containers of one worker."""

    client: DockerClient
    labels: WorkerLabels
    _image: str = ""

    async def make(self, network: PodNetwork, name: str) -> Pause:
        """A new one of this name. After an error, there may be a container of this name, too.

        Raises: DockerError, TaskFailedInternally, Unavailable.
        """
        container = await self._create(name, network)
        await self.client.call(self.client.api.start, container)
        pid = int((await self.client.call(self.client.api.inspect_container, container))["State"]["Pid"])
        return Pause(container, network, pid, await read_shared_files(self.client, container))

    async def _create(self, name: str, network: PodNetwork) -> str:
        self._image = self._image or await ensure_pause_image(self.client)
        body = {
            "Image": self._image,
            "Labels": self.labels.of_worker,
            "HostConfig": {
                "NetworkMode": network,
                "LogConfig": {"Type": "none"},
                "ReadonlyRootfs": True,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
            },
        }
        try:
            made = await self.client.call(self.client.api.create_container_from_config, body, name)
        except DockerError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            body["Image"] = self._image = await ensure_pause_image(self.client)  # somebody has removed it
            made = await self.client.call(self.client.api.create_container_from_config, body, name)
        return str(made["Id"])


async def read_shared_files(client: DockerClient, container: str) -> dict[str, bytes]:
    """Everything in its `/etc`, by path. Raises DockerError, Unavailable."""
    return await client.call(_read_etc, client, container)


def _read_etc(client: DockerClient, container: str) -> dict[str, bytes]:
    pieces, _ = client.api.get_archive(container, "/etc")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        files = ((member.name, tar.extractfile(member)) for member in tar if member.isfile())
        return {name: file.read() for name, file in files if file}
