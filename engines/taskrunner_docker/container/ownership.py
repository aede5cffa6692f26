"""Changing the owner of a cache's folders, which a container has made as root, to the user of this worker.

Docker extracts archives as root. An archive that names existing folders changes nothing but their owner and mode, and
the owner of a folder may remove its files. The container that this needs is never started, and its image is empty.
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from pathlib import Path

from taskrunner.connections import Connections
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.tar import TarStream, read_in_thread
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.cleanup.removal import remove_container, remove_tag

_TARGET = "/cache"
_MODE = 0o700


async def take_folders(client: DockerClient, path: Path, labels: WorkerLabels, uid: int | None = None) -> None:
    """Makes this process's user (or `uid`) the owner of all folders in `path`.

    Raises: DockerError, Unavailable, OSError, TarError, TaskFailedInternally (its container cannot be removed)."""
    owner = os.geteuid() if uid is None else uid
    name = labels.passing_name()
    image = f"{labels.build_repository}:{name}"
    empty = bytes(2 * tarfile.BLOCKSIZE)
    await client.call(client.api.import_image_from_data, empty, repository=labels.build_repository, tag=name)
    body = {
        "Image": image,
        "Cmd": ["never-started"],
        "Labels": labels.of_worker,
        "HostConfig": {"Mounts": [{"Type": "bind", "Source": str(path), "Target": _TARGET}]},
    }
    try:
        made = await client.call(client.api.create_container_from_config, body, name)
        try:
            await _take(client, str(made["Id"]), owner)
        finally:
            await remove_container(client, made["Id"])
    finally:
        await remove_tag(client, image)


async def _take(client: DockerClient, container: str, owner: int) -> None:
    connections = Connections()
    try:
        archive = await read_in_thread(connections, lambda: _folders(client, connections, container, owner))
    finally:
        connections.close()
    await client.call(client.api.put_archive, container, "/", archive)  # below _TARGET, itself would be left out


def _folders(client: DockerClient, connections: Connections, container: str, owner: int) -> bytes:
    """An archive of all folders of the cache, with another owner."""
    archive = io.BytesIO()
    with (
        TarStream.open(client, connections, container, f"{_TARGET}/.") as found,
        tarfile.open(fileobj=archive, mode="w") as wanted,
    ):
        for member in found:
            if member.isdir():
                wanted.addfile(_owned(posixpath.normpath(f"{_TARGET}/{member.name}").lstrip("/"), owner))
    return archive.getvalue()


def _owned(name: str, owner: int) -> tarfile.TarInfo:
    folder = tarfile.TarInfo(name)
    folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, _MODE, owner, owner
    return folder
