"""The image of pause containers, made here: nothing is pulled.

It is loaded with its whole configuration, dates included, so that its id is the same on each machine: two workers that
make it at once make one image.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any

import attrs

from taskrunner.errors import TaskFailedInternally
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.inspection import inspect_image
from taskrunner_docker.pod.pause_program import NAME, pause_program

_DATE = "1970-01-01T00:00:00Z"


@attrs.frozen
class PauseImage:
    """The image for one architecture."""

    tag: str
    layer: bytes
    config: bytes

    @classmethod
    def make(cls, architecture: str) -> PauseImage:
        """`architecture` as Docker names it: `amd64`. Raises KeyError for one without a program."""
        layer = _tar({NAME: (pause_program(architecture), 0o755)})
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": _DATE,
            "config": {"Entrypoint": [f"/{NAME}"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            "history": [{"created": _DATE}],
        }
        return cls(f"{NAME}:{architecture}", layer, json.dumps(config).encode())

    @property
    def archive(self) -> bytes:
        """As `docker load` reads it."""
        name = hashlib.sha256(self.config).hexdigest() + ".json"
        manifest = json.dumps([{"Config": name, "RepoTags": [self.tag], "Layers": ["layer.tar"]}]).encode()
        files = {name: self.config, "layer.tar": self.layer, "manifest.json": manifest}
        return _tar({path: (data, 0o644) for path, data in files.items()})

    def is_same(self, inspected: dict[str, Any]) -> bool:
        """Whether an image of that name is this one. Anybody who may use Docker can give the name to another image."""
        layers, entrypoint = inspected["RootFS"].get("Layers"), inspected["Config"].get("Entrypoint")
        return bool(layers == [_digest(self.layer)] and entrypoint == [f"/{NAME}"])


async def ensure_pause_image(client: DockerClient) -> str:
    """The id of the image, which is made if it is not there. Raises DockerError, TaskFailedInternally, Unavailable."""
    architecture = str((await client.call(client.api.version))["Arch"])
    try:
        image = PauseImage.make(architecture)
    except KeyError:
        what = f"this Docker runs on {architecture}, and there is no pause program for it: amd64 and arm64 have one"
        raise TaskFailedInternally(what) from None
    found = await inspect_image(client, image.tag)
    if found is None or not image.is_same(found):
        await client.call(lambda: list(client.api.load_image(image.archive)))  # type: ignore[no-untyped-call]
        found = await inspect_image(client, image.tag)
    if found is None or not image.is_same(found):
        raise TaskFailedInternally(
            f"the image {image.tag} was made, and is gone again: does another program remove it?"
        )
    return str(found["Id"])


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    """Without dates and owners: the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, (data, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
