"""A little disk that is kept back for a queue, so that on a full disk its tasks can still be listed and cancelled.

SQLite needs room for its shared memory as soon as a database is opened, also to read it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import attrs

RESERVE = 128 << 10
"""Bytes: SQLite's shared memory takes 32 KiB, and a small transaction some pages of 4 KiB."""

PLENTY = 16 * RESERVE
"""Bytes that must be free for the reserve to be made: it is not what fills a disk."""


@attrs.frozen
class DiskReserve:
    """A file of zeros. Each operation is best effort and raises nothing."""

    path: Path

    def make(self) -> None:
        """Makes the file, unless it is there or the disk is nearly full."""
        with suppress(OSError):
            if not self.path.exists() and _free(self.path.parent) > PLENTY:
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    os.write(descriptor, bytes(RESERVE))
                finally:
                    os.close(descriptor)

    def spend(self) -> bool:
        """Frees it when the disk is full. False: there is room, or the reserve is gone already."""
        try:
            if _free(self.path.parent) >= RESERVE:
                return False
            self.path.unlink()
        except OSError:
            return False
        return True


def _free(folder: Path) -> int:
    system = os.statvfs(folder)
    return system.f_bavail * system.f_frsize
