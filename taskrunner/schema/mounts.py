"""What types cannot say about the `mounts` of a task."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from taskrunner.errors import Complaint
from taskrunner.interfaces.artifacts import RESERVED_NAMES
from taskrunner.model import MountSpec, Task

_OWN_PLACE = "give each mount and each cache a path of its own"


def mount_complaints(task: Task) -> Iterator[Complaint]:
    """Fields that need or exclude each other, and targets that are in each other's way."""
    taken = [(f"caches[{index}].path", _parts(cache.path)) for index, cache in enumerate(task.caches)]
    for index, mount in enumerate(task.mounts):
        field = f"mounts[{index}]"
        for name, problem, fix in _field_complaints(mount):
            yield Complaint(f"{field}.{name}", problem, fix)
        parts = _parts(mount.target)
        if not parts[1]:
            yield Complaint(f"{field}.target", f"{mount.target} is everything that the run has", _OWN_PLACE)
        elif other := next((other for other, there in taken if _overlap(parts, there)), ""):
            yield Complaint(f"{field}.target", f"is the same place as {other}, or within it, or around it", _OWN_PLACE)
        taken.append((f"{field}.target", parts))


def _field_complaints(mount: MountSpec) -> Iterator[tuple[str, str, str]]:
    if mount.url and not mount.sha256:
        yield "sha256", "is missing", "write the 64 hex digits that `sha256sum` prints"
    if mount.artifact and not mount.task:
        yield "task", "is missing", "write the id of the task that has made the artifact"
    if mount.artifact in RESERVED_NAMES:
        yield "artifact", "is the log of a run, and no artifact", "let that task keep a file of its own"
    if mount.content and mount.sha256:
        yield "sha256", "means nothing to `content`", "leave it out"
    if mount.content and mount.unpack:
        yield "unpack", "means nothing to `content`: a text is no archive", "leave it out"
    if mount.unpack and mount.executable:
        yield "executable", "means nothing beside `unpack`", "leave it out: an archive says which of its files are"


def _parts(path: str) -> tuple[bool, tuple[str, ...]]:
    """Whether a path is absolute, and its parts."""
    plain = posixpath.normpath(path).strip("/")
    return path.startswith("/"), tuple(plain.split("/")) if plain not in {"", "."} else ()


def _overlap(one: tuple[bool, tuple[str, ...]], other: tuple[bool, tuple[str, ...]]) -> bool:
    """Whether they are the same place, or one is within the other. Where a relative path is in a container, its engine
    knows."""
    shorter = min(len(one[1]), len(other[1]))
    return one[0] == other[0] and one[1][:shorter] == other[1][:shorter]
