"""The files of control groups: where a hierarchy is mounted, how a group is named, and what is done with its files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

LONGEST_NAME = 200
"""Characters of a group's name, of which the kernel allows 255."""


def find_hierarchy(version: int, controller: str = "pids") -> tuple[Path, Path]:
    """Where a hierarchy is mounted, and the worker's own group in it; of version 1, that of a controller. Raises
    LookupError."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.split(" ", 2)
        if kind == ("cgroup2" if version == 2 else "cgroup") and (version == 2 or controller in options.split(",")):  # noqa: PLR2004  the version's name
            _, _, _, base, point = mount.split(" ")[:5]
            inside = os.path.relpath(_own_group(version, controller), base)
            return Path(point), Path(point) if inside.startswith("..") else Path(point, inside)
    raise LookupError(f"no control groups of version {version} with the controller {controller}")


def _own_group(version: int, controller: str) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if (version == 2 and not controllers) or (version == 1 and controller in controllers.split(",")):  # noqa: PLR2004  the version's name
            return path
    raise LookupError(f"this process is in no control group of version {version}")


def group_name(worker_id: str) -> str:
    """The group of a worker, which holds those of its runs."""
    return f"taskrunner.{kernel_name(worker_id)}"


def kernel_name(text: str) -> str:
    """A name that the kernel takes for a group: no slash, not too long, and different for different texts."""
    name = "r" + quote(text, safe="")
    return name if len(name) <= LONGEST_NAME else "h" + hashlib.sha256(text.encode()).hexdigest()


def around_name(run: str) -> str:
    """The group around those of the commands of one run."""
    return f"l{kernel_name(run)}"


def is_writable(probe: Path, wanted: str) -> bool:
    """Whether a group can be made here, and has this file. Raises OSError."""
    probe.mkdir()
    try:
        return os.access(probe / wanted, os.W_OK)
    finally:
        probe.rmdir()


def move_thread(group: Path) -> None:
    """Moves the calling thread into a group of version 1. Raises OSError."""
    file = os.open(group / "tasks", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, b"0")  # the thread that writes
    finally:
        os.close(file)


def read_start(path: Path) -> bytes:
    """Some bytes, if it has any. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, 64)
    finally:
        os.close(file)


def subgroups(folder: Path) -> list[Path]:
    try:
        return [child for child in folder.iterdir() if child.is_dir()]
    except FileNotFoundError:
        return []


def groups_below(folder: Path) -> list[Path]:
    """All groups in a group, the innermost first: only an empty one can be removed."""
    return [found for child in subgroups(folder) for found in (*groups_below(child), child)]


def find_groups(root: Path, name: str) -> list[Path]:
    """All groups of this name in a hierarchy, whose other groups may come and go meanwhile."""
    return [Path(folder, name) for folder, below, _ in os.walk(root) if name in below]


def remove_group(folder: Path) -> None:
    """Removes an empty group. One that stays is empty, and is removed by the next clean-up."""
    with contextlib.suppress(OSError):
        folder.rmdir()


@contextlib.contextmanager
def gone_is_empty() -> Iterator[None]:
    """A group that was removed meanwhile is no error: only an empty one can be removed."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENODEV}:
            raise
