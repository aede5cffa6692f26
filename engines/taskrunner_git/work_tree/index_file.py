"""Git's index (version 2): the files of the commit, and their state on disk, by which `git status` skips them."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable

import attrs

_LIMIT = 0xFFFFFFFF
"""Git keeps the low 32 bits of each number."""
_LONG_NAME = 0xFFF
"""The length that stands for all longer ones."""
_ALIGNMENT = 8
_ENTRY = struct.Struct(">10I20sH")


@attrs.frozen
class IndexEntry:
    """One file, symbolic link or submodule."""

    path: bytes
    mode: int
    """As in a tree: 0100644, 0100755, 0120000, 0160000."""
    sha: bytes
    status: os.stat_result | None
    """None for a submodule, which has none."""


def index_file(entries: Iterable[IndexEntry]) -> bytes:
    """The whole file."""
    packed = [_packed(entry) for entry in sorted(entries, key=lambda entry: entry.path)]
    data = b"".join([b"DIRC", struct.pack(">2I", 2, len(packed)), *packed])
    return data + hashlib.sha1(data, usedforsecurity=False).digest()


def _packed(entry: IndexEntry) -> bytes:
    head = _ENTRY.pack(*_numbers(entry), entry.sha, min(len(entry.path), _LONG_NAME))
    data = head + entry.path
    return data + bytes(_ALIGNMENT - len(data) % _ALIGNMENT)


def _numbers(entry: IndexEntry) -> tuple[int, ...]:
    status = entry.status
    if status is None:
        return (0, 0, 0, 0, 0, 0, entry.mode, 0, 0, 0)
    times = (*divmod(status.st_ctime_ns, 10**9), *divmod(status.st_mtime_ns, 10**9))
    others = (status.st_dev, status.st_ino, entry.mode, status.st_uid, status.st_gid, status.st_size)
    return tuple(number & _LIMIT for number in (*times, *others))
