"""Making the folders of a cache ours, when a container has left them as root and this worker is somebody else.

Docker extracts archives as root. An archive that names existing folders changes nothing but their owner and mode; and
whoever owns a folder may remove what is in it. The container that this needs is never started, and its image is empty.
"""

from __future__ import annotations

import io
import json
import os
import posixpath
import tarfile
from collections.abc import Mapping
from pathlib import Path

from taskrunner_docker.api.client import Daemon
from taskrunner_docker.api.tar import TarStream
from taskrunner_docker.cleanup.removal import remove_container, remove_tag

_TARGET = "/cache"
_MODE = 0o700


async def take_folders(daemon: Daemon, path: Path, labels: Mapping[str, str], uid: int | None = None) -> None:
    """Gives all folders in `path` to this process's user (or to `uid`). Raises DockerError, Unavailable, and
    TaskFailedInternally when the helping container cannot be removed."""
    owner = os.geteuid() if uid is None else uid
    imported = await daemon.call(daemon.api.import_image_from_data, bytes(2 * tarfile.BLOCKSIZE))
    image = str(json.loads(imported)["status"])
    body = {
        "Image": image,
        "Cmd": ["never-started"],
        "Labels": dict(labels),
        "HostConfig": {"Mounts": [{"Type": "bind", "Source": str(path), "Target": _TARGET}]},
    }
    try:
        made = await daemon.call(daemon.api.create_container_from_config, body)
        try:
            await daemon.call(_take, daemon, str(made["Id"]), owner)
        finally:
            await remove_container(daemon, made["Id"])
    finally:
        await remove_tag(daemon, image)


def _take(daemon: Daemon, container: str, owner: int) -> None:
    archive = io.BytesIO()
    with (
        TarStream.open(daemon, container, f"{_TARGET}/.") as found,
        tarfile.open(fileobj=archive, mode="w") as wanted,
    ):
        for member in found.tar:
            if member.isdir():
                wanted.addfile(_owned(posixpath.normpath(f"{_TARGET}/{member.name}").lstrip("/"), owner))
    daemon.api.put_archive(container, "/", archive.getvalue())  # below _TARGET, itself would be left out


def _owned(name: str, owner: int) -> tarfile.TarInfo:
    folder = tarfile.TarInfo(name)
    folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, _MODE, owner, owner
    return folder
