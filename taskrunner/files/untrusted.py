"""Folders that a task has written: walking, opening and removing them, whatever is in them."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs

from taskrunner.files.mounts import is_mounted_over, mount_of

PATH_MAX = 4096
"""Bytes of a path that Linux takes."""

ROUNDS = 10
"""Times that a folder is emptied in which something still writes: another run of the same account."""

MOUNTED = "something is mounted there, and is left alone: unmount it"

ROOM = 4 << 20
"""Bytes: a resolution of the largest size, twice over, in a queue's file and in its log."""


@attrs.frozen
class Walked:
    """A file, link or folder that a walk has found."""

    name: str
    """Its path below the folder, of any bytes."""
    status: os.stat_result
    """As it was, of a link itself."""

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


def walk(folder: Path) -> Iterator[Walked]:
    """Everything below a folder, in no order. No link is followed, also not one that takes the place of a folder
    meanwhile. Not recursive: a task can nest thousands deep.

    Folders whose path is too long for the system, or that vanish, are left out. A folder that its owner may not read is
    made readable first. Raises nothing.
    """
    pending: list[tuple[str, ...]] = [()]
    while pending:
        inner = pending.pop()
        for found in _list(folder, inner):
            yield found
            if found.is_folder and len(os.fsencode(folder)) + len(os.fsencode(found.name)) < PATH_MAX:
                pending.append((*inner, os.path.basename(found.name)))  # noqa: PTH119  a name may have any bytes


def _list(folder: Path, inner: tuple[str, ...]) -> list[Walked]:
    with contextlib.suppress(OSError):
        make_readable(folder)
        place = _open_folder(folder, inner)
        try:
            with os.scandir(place) as entries:
                return [Walked("/".join((*inner, each.name)), each.stat(follow_symlinks=False)) for each in entries]
        finally:
            os.close(place)
    return []


def _open_folder(root: Path, parts: tuple[str, ...]) -> int:
    """Follows no link on the way. Raises OSError."""
    place = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for part in parts:
        try:
            make_readable(part, dir_fd=place)
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
        finally:
            os.close(place)
        place = inner
    return place


def make_readable(path: str | Path, *, dir_fd: int | None = None) -> None:
    """Gives the owner of a file or folder the right to read it, and to empty a folder. Root needs no right."""
    if os.geteuid() == 0:
        return
    mode = os.stat(path, dir_fd=dir_fd, follow_symlinks=False).st_mode
    wanted = stat.S_IRWXU if stat.S_ISDIR(mode) else stat.S_IRUSR
    if not stat.S_ISLNK(mode) and mode & wanted != wanted:
        os.chmod(path, stat.S_IMODE(mode) | wanted, dir_fd=dir_fd)


def open_beneath(root: Path, parts: tuple[str, ...]) -> int:
    """Opens a regular file below a folder, following no link on the way: the descriptor. Raises OSError."""
    place = _open_folder(root, parts[:-1])
    try:
        make_readable(parts[-1], dir_fd=place)
        return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
    finally:
        os.close(place)


def read_link_beneath(root: Path, parts: tuple[str, ...]) -> str:
    """Where a symbolic link below a folder leads, following no link on the way. Raises OSError."""
    place = _open_folder(root, parts[:-1])
    try:
        return os.readlink(parts[-1], dir_fd=place)
    finally:
        os.close(place)


def empty_folder(folder: Path) -> list[str]:
    """Removes everything in a folder, and not the folder: a line for each thing that is still there. What is mounted on
    it or in it is not the task's, and stays.

    Every folder further down is first moved to the top, so that neither depth nor length of paths matters.
    """
    try:
        make_readable(folder)
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{folder}: {error.strerror}"]
    try:
        if is_mounted_over(top):
            return [f"{folder}: {MOUNTED}"]
        return _Removal(top, folder, mount_of(top)).run()
    except OSError as error:
        return [f"{folder}: {error.strerror}"]
    finally:
        os.close(top)


def has_room(folder: Path) -> bool:
    """Whether the disk has room for what is written at the end of a run (ROOM). Raises nothing."""
    try:
        system = os.statvfs(folder)
    except OSError:
        return True  # the folder is unreadable, not full
    return system.f_bavail * system.f_frsize >= ROOM


def remove_folder(folder: Path) -> list[str]:
    """Removes a folder and everything in it; one that is not there is fine. Blocks. Returns a line for each thing that
    stayed.
    """
    problems = empty_folder(folder)
    try:
        if not problems:
            folder.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        problems.append(f"{folder}: {error.strerror}")
    return problems


@attrs.define
class _Removal:
    """One emptying of a folder."""

    top: int
    folder: Path
    mount: int
    """The mount that all of it is in."""
    pending: list[tuple[str, Path]] = attrs.field(factory=list)
    """Folders to remove: their name at the top, and the path that they had."""
    problems: list[str] = attrs.field(factory=list)
    count: int = 0
    prefix: str = attrs.field(factory=lambda: f".removing-{secrets.token_hex(8)}-")

    def run(self) -> list[str]:
        for _ in range(ROUNDS):
            self._empty()
            if self.problems or not self._names():
                return self.problems
        return [f"{self.folder / name}: something makes it again and again" for name in self._names()]

    def _names(self) -> list[str]:
        return os.listdir(self.top)  # noqa: PTH208  it has no path, only a descriptor

    def _empty(self) -> None:
        with os.scandir(self.top) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    self.pending.append((entry.name, self.folder / entry.name))
                else:
                    self._try(self.folder / entry.name, os.unlink, entry.name, dir_fd=self.top)
        while self.pending:
            name, path = self.pending.pop()
            self._try(path, self._remove, name, path)

    def _try(self, path: Path, call: object, *arguments: object, **options: object) -> None:
        try:
            call(*arguments, **options)  # type: ignore[operator]  # os.unlink, or a method of ours
        except FileNotFoundError:
            pass  # something else has removed or renamed it; the next round finds it
        except OSError as error:
            self.problems.append(f"{os.fsencode(path).decode(errors='replace')}: {error.strerror}")

    def _remove(self, name: str, path: Path) -> None:
        make_readable(name, dir_fd=self.top)
        inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.top)
        try:
            if mount_of(inside) != self.mount:
                raise OSError(errno.EBUSY, MOUNTED)
            with os.scandir(inside) as entries:
                for entry in list(entries):
                    self._try(path / entry.name, self._take_out, entry, inside, path)
        finally:
            os.close(inside)
        os.rmdir(name, dir_fd=self.top)

    def _take_out(self, entry: os.DirEntry[str], inside: int, path: Path) -> None:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=inside)
            return
        self.count += 1
        name = f"{self.prefix}{self.count}"
        make_readable(entry.name, dir_fd=inside)
        os.rename(entry.name, name, src_dir_fd=inside, dst_dir_fd=self.top)
        self.pending.append((name, path / entry.name))
