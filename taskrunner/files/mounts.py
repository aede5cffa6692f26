"""File systems that a task has mounted in its folder: what is in them is not the task's, and must not be removed."""

from __future__ import annotations

import ctypes
import os
import re
import select
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock

MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
"""From <sys/mount.h>: also while it is in use; not what a link leads to."""

_ESCAPED = re.compile(rb"\\([0-7]{3})")
_ESCAPABLE = re.compile(rb"[ \t\n\\]")
"""Space, tab, line feed and backslash in the mount points of /proc."""


class MountChanges:
    """Counts the changes of this machine's mounts. As a rule there is none during a run, and a look at the count takes
    2 µs. Used from any thread, for as long as the process lives.
    """

    def __init__(self) -> None:
        """Raises nothing: where there is no /proc, the count stays."""
        self._lock, self._count = Lock(), 0
        self._poll = select.poll()
        with suppress(OSError):
            self._poll.register(os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC), select.POLLPRI)

    def count(self) -> int:
        with self._lock:
            self._count += bool(self._poll.poll(0))
            return self._count


def mount_of(descriptor: int) -> int:
    """The mount that an open file or folder is in. Raises OSError.

    A device number is not enough, which a bind mount shares with what is mounted; other systems have no such mounts.
    """
    try:
        with Path(f"/proc/self/fdinfo/{descriptor}").open("rb", buffering=0) as info:
            return int(info.read(4096).partition(b"mnt_id:")[2].split(maxsplit=1)[0])
    except (FileNotFoundError, IndexError):
        return os.fstat(descriptor).st_dev


def is_mounted_over(folder: int) -> bool:
    """Whether an open folder is the root of a mount. Raises OSError."""
    above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return mount_of(above) != mount_of(folder)
    finally:
        os.close(above)


def mounts_below(folder: Path) -> list[Path]:
    """What is mounted on a folder or in it, the last one first. As a rule nothing: then it takes some 30 µs. Raises
    OSError."""
    root, mounts = os.fsencode(os.path.realpath(folder)), _read_mounts()
    if _ESCAPABLE.sub(_escape, root) not in mounts:
        return []
    found = [point for point in _mount_points(mounts) if point == root or point.startswith(root + b"/")]
    return [Path(os.fsdecode(point)) for point in reversed(found)]


def unmount_below(folder: Path) -> list[str]:
    """Unmounts all of that, also while it is in use: a line for each, which says so when it stays. Blocks.

    Raises: OSError.
    """
    return [_unmount(folder, point) for point in mounts_below(folder)]


def _unmount(folder: Path, point: Path) -> str:
    """No link is followed on the way: another task of the same account may put one there at any time."""
    shown = os.fsencode(point).decode(errors="replace")
    try:
        place = _open_above(Path(os.path.realpath(folder)).parent, point)
        try:
            _umount(f"/proc/self/fd/{place}/{point.name}")
        finally:
            os.close(place)
    except OSError as error:
        return f"{shown} is mounted, and cannot be unmounted: {error.strerror}"
    return f"unmounted {shown}, which the task has mounted"


def _open_above(root: Path, point: Path) -> int:
    place = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in point.relative_to(root).parts[:-1]:
        try:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
        finally:
            os.close(place)
        place = inner
    return place


def _umount(path: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _read_mounts() -> bytes:
    """Empty where there is no /proc."""
    try:
        return Path("/proc/self/mountinfo").read_bytes()
    except FileNotFoundError:
        return b""


def _mount_points(mounts: bytes) -> Iterator[bytes]:
    """In the order in which they were mounted."""
    for line in mounts.splitlines():
        yield _ESCAPED.sub(lambda octal: bytes([int(octal[1], 8)]), line.split(b" ", 5)[4])


def _escape(letter: re.Match[bytes]) -> bytes:
    return b"\\%03o" % letter[0][0]
