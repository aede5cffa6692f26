"""A folder as one tar stream, made while it is read, for folders that a task has written.

Memory holds one piece of a file and the names of one folder. No member is read through a link.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from taskrunner.files.artifact_files import kind_of
from taskrunner.files.untrusted import Walked, open_beneath, read_link_beneath, walk
from taskrunner.interfaces.results import READ_SIZE

BLOCK = tarfile.BLOCKSIZE


def folder_tar(folder: Path, say: Callable[[str], None]) -> Generator[bytes, None, None]:
    """The pieces of a tar with all folders, regular files and symbolic links below `folder`; what else is there is left
    out, and named by `say`. Owners are left out too: an account of this machine means nothing on another.

    Blocks. Raises OSError.
    """
    gathered = bytearray()
    for found in walk(folder):
        for piece in _member(folder, found, say):
            gathered += piece
            if len(gathered) >= READ_SIZE:
                yield bytes(gathered)
                gathered.clear()
    yield bytes(gathered) + bytes(2 * BLOCK)


def _member(folder: Path, found: Walked, say: Callable[[str], None]) -> Iterator[bytes]:
    member = tarfile.TarInfo(found.name)
    member.mode, member.mtime = stat.S_IMODE(found.status.st_mode), int(found.status.st_mtime)
    parts = tuple(found.name.split("/"))
    if found.is_folder:
        member.type = tarfile.DIRTYPE
        yield _header(member)
    elif stat.S_ISLNK(found.status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, read_link_beneath(folder, parts)
        yield _header(member)
    elif stat.S_ISREG(found.status.st_mode):
        yield from _file(folder, parts, member)
    else:
        say(f"left out {os.fsencode(found.name).decode(errors='replace')!r}: it is a {kind_of(found.status.st_mode)}")


def _file(folder: Path, parts: tuple[str, ...], member: tarfile.TarInfo) -> Iterator[bytes]:
    descriptor = open_beneath(folder, parts)
    try:
        left = member.size = os.fstat(descriptor).st_size
        yield _header(member)
        while left and (piece := os.read(descriptor, min(left, READ_SIZE))):
            left -= len(piece)
            yield piece
    finally:
        os.close(descriptor)
    if left:  # the header has said its size already
        raise OSError(0, f"it became shorter while it was read: {member.name}")
    yield bytes(-member.size % BLOCK)


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
