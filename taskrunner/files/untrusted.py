"""Folders that a task has written: walking, opening and removing them, whatever is in them."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOM = 4 << 20
"""Bytes: a resolution of the largest size, twice over, in a queue's file and in its log."""


def walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below a folder, in no order; links are not followed. Not recursive: a task can nest thousands deep.

    Folders whose path is too long for the system, or that vanish, are left out. A folder that its owner may not read is
    made readable first.
    """
    pending = [os.fspath(folder)]
    while pending:
        for entry in _list(pending.pop()):
            yield entry
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)


def _list(folder: str) -> list[os.DirEntry[str]]:
    with contextlib.suppress(OSError):
        make_readable(folder)
        with os.scandir(folder) as entries:
            return list(entries)
    return []


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
    place = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            make_readable(part, dir_fd=place)
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
            os.close(place)
            place = inner
        make_readable(parts[-1], dir_fd=place)
        return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
    finally:
        os.close(place)


def empty_folder(folder: Path) -> list[str]:
    """Removes everything in a folder, and not the folder: a line for each thing that is still there.

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
        return _Removal(top, folder).run()
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
    pending: list[tuple[str, Path]] = attrs.field(factory=list)
    """Folders to remove: their name at the top, and the path that they had."""
    problems: list[str] = attrs.field(factory=list)
    count: int = 0
    prefix: str = attrs.field(factory=lambda: f".removing-{secrets.token_hex(8)}-")

    def run(self) -> list[str]:
        with os.scandir(self.top) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    self.pending.append((entry.name, self.folder / entry.name))
                else:
                    self._try(self.folder / entry.name, os.unlink, entry.name, dir_fd=self.top)
        while self.pending:
            name, path = self.pending.pop()
            self._try(path, self._remove, name, path)
        return self.problems

    def _try(self, path: Path, call: object, *arguments: object, **options: object) -> None:
        try:
            call(*arguments, **options)  # type: ignore[operator]  # os.unlink, or a method of ours
        except OSError as error:
            self.problems.append(f"{os.fsencode(path).decode(errors='replace')}: {error.strerror}")

    def _remove(self, name: str, path: Path) -> None:
        make_readable(name, dir_fd=self.top)
        inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.top)
        try:
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
