"""What it means that Docker refuses to make or to start a container."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus

from taskrunner.errors import TaskFailed, TaskFailedInternally, Unavailable
from taskrunner_docker.api.docker_errors import DockerError, is_link_loop, is_wrong_path

_UNABLE = {
    "storage-opt|pquota": ("limits.disk", "has a storage driver that cannot limit the size of a container"),
    "could not select device driver": ("isolation.gpus", "has no driver for GPUs"),
    "unable to apply caps": (
        "isolation",
        "lacks itself what the task asks for (does it run in a container?)",
    ),
    "discarded": ("resources", "cannot keep a container to its limits"),
    "Range of CPUs|NanoCPUs can not": ("resources.cpus", "cannot give as many"),
}
"""What this Docker cannot do, and another worker's perhaps can, by its words."""

_WRONG = {
    "unable to find (?:user|group)|no matching entries in passwd|uids and gids must be": "isolation.user",
    "error setting rlimit": "limits.ulimits",
    "gathering device information": "isolation.devices",
    "disk quota exceeded": "limits.disk",  # less than the image, where that counts
    "capability": "isolation.capabilities",
    "bind source path does not exist": "isolation.host_folders",
}
"""The field of the task that Docker refuses, by its words."""

_WRONG_COMMAND = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND})
"""Docker's statuses for a program that cannot be run, or is not in the image."""

_CLOSED_PLACE = re.compile("container init.*(?:read-only file system|inside /proc)")
"""Where nothing can be made: `/proc`, `/sys`, or a folder of the machine that the task may only read. Before this step
of a start, the same words are about Docker's own disk."""


def start_error(image: str, error: DockerError) -> Exception:
    """The error of the run. A limit that cannot be set is never left out in silence."""
    what = f"cannot start the container of {image}: {error}"
    for words, (field, why) in _UNABLE.items():
        if re.search(words, str(error)):
            return Unavailable(f"{field}: this worker's Docker {why}: {error}")
    for words, field in _WRONG.items():
        if re.search(words, str(error)):
            return TaskFailed("start-failed", f"{what}; check `{field}`")
    if error.status in _WRONG_COMMAND or _is_wrong_place(error):
        return TaskFailed("start-failed", f"{what}; check `command`, `working_dir` and where `caches` and `mounts` go")
    return TaskFailedInternally(what)


def _is_wrong_place(error: DockerError) -> bool:
    """Whether nothing can be mounted, or no folder made, where the task wants it."""
    return is_wrong_path(error) or is_link_loop(error) or bool(_CLOSED_PLACE.search(str(error)))


def check_warnings(warnings: Iterable[str]) -> None:
    """Docker makes a container without a limit that its kernel lacks, and warns of it. Raises DockerError."""
    if discarded := [warning for warning in warnings if "discarded" in warning]:
        raise DockerError(0, " ".join(discarded))
