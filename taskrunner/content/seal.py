"""Sealing: the files of content that is complete lose their write bits, and what it looks like is kept beside it.

A later run finds out by this whether it is still what was fetched: files may be lost in a power cut, or be changed by
whoever may write to the home. Of a single file each byte counts; of a folder the paths, modes, sizes and times.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from taskrunner.connections import Connections
from taskrunner.files.checksum import sha256_of
from taskrunner.files.untrusted import PATH_MAX, walk

_READ, _EXECUTE, _FOLDER = 0o444, 0o111, 0o755
"""The worker itself may still remove what is in a folder."""


def seal(content: Path, mark: Path, connections: Connections, *, executable: bool) -> None:
    """Called once, when the content is complete. Blocks. Raises: Interrupted, OSError."""
    if content.is_dir():
        for found in walk(content):
            connections.check()
            path = content / found.name
            if not stat.S_ISLNK(found.status.st_mode) and len(os.fsencode(path)) < PATH_MAX:
                path.chmod(_sealed(found.status.st_mode))
        content.chmod(_FOLDER)
    else:
        content.chmod(_READ | (_EXECUTE if executable else 0))
    mark.write_text(_fingerprint(content, connections))


def is_sealed(content: Path, mark: Path, connections: Connections) -> bool:
    """Whether it is there as it was sealed. Blocks. Raises: Interrupted, OSError (the disk)."""
    try:
        return mark.read_text() == _fingerprint(content, connections)
    except FileNotFoundError:
        return False


def _sealed(mode: int) -> int:
    if stat.S_ISDIR(mode):
        return _FOLDER
    return _READ | (_EXECUTE if mode & stat.S_IXUSR else 0)


def _fingerprint(content: Path, connections: Connections) -> str:
    if not content.is_dir():
        with content.open("rb", buffering=0) as file:
            return sha256_of(file, connections)
    digest = hashlib.sha256()
    for line in sorted(_lines(content, connections)):
        digest.update(line)
    return digest.hexdigest()


def _lines(folder: Path, connections: Connections) -> Iterator[bytes]:
    for found in walk(folder):
        connections.check()
        status = found.status
        size = (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else ()
        yield b"%s\0%s\n" % (os.fsencode(found.name), repr((status.st_mode, *size)).encode())
