"""One copy of a cache on disk and its lock. Nothing else knows of a lease, so any number of workers may share a copy.

Copy 3 of a cache is made of three neighbours::

    3         the folder itself
    3.lock    locked with flock while the copy is leased: exclusive, or shared by readers. Its time is that of last use
    3.dirty   there while the copy may be written to, and after it was discarded

The kernel releases the lock when its holder dies; the mark stays. So a copy that is free and dirty was left in the
middle of a run. A dirty copy is never leased again. An evicted folder is renamed to `3.gone-...` first, and then
deleted.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path

from taskrunner.files.file_lock import is_at, try_lock

OPEN = 0o755
"""Of a copy: a container may have another user. The folder that it is in is closed."""


class CacheCopy:
    """A copy that this object may have locked. All errors are those of the disk: OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_path, self._dirty = path.with_name(f"{path.name}.lock"), path.with_name(f"{path.name}.dirty")
        self._file = -1

    @property
    def used_at(self) -> int:
        """When it was used last, in nanoseconds; 0 when it is gone."""
        try:
            return self._lock_path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    @property
    def usable(self) -> bool:
        """Whether it may be leased as it is."""
        return self.path.is_dir() and not self.path.is_symlink() and not self._dirty.exists()

    def make(self) -> None:
        """Makes it, empty, and locks it exclusively. Called inside `choosing`, like `acquire`."""
        self._file = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.path.mkdir()
        self.path.chmod(OPEN)

    def acquire(self, *, shared: bool) -> bool:
        """Locks it if it is free. False: it is leased, or was evicted this moment."""
        try:
            self._file = os.open(self._lock_path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        if try_lock(self._file, shared=shared) and is_at(self._file, self._lock_path):
            return True
        self.release()
        return False

    def downgrade(self) -> None:
        """Makes an exclusive lock a shared one."""
        try_lock(self._file, shared=True)

    def mark_dirty(self) -> None:
        """A dirty copy is never leased again."""
        self._dirty.touch(mode=0o600)

    def mark_clean(self) -> None:
        """It is good as it is now, and was used just now."""
        self._dirty.unlink(missing_ok=True)
        self.touch()

    def touch(self) -> None:
        """It was used just now. The kernel would set the time of its last tick, up to 4 ms ago: copies released
        within one tick would have no order."""
        now = time.clock_gettime_ns(time.CLOCK_REALTIME)
        os.utime(self._lock_path, ns=(now, now))

    def evict(self) -> Path | None:
        """Takes it out of use, unless others have it locked too, and releases it. Returns the folder to be deleted."""
        try:
            if not try_lock(self._file):
                return None
            gone = self._rename()
            self._dirty.unlink(missing_ok=True)
            self._lock_path.unlink(missing_ok=True)
        finally:
            self.release()
        return gone

    def release(self) -> None:
        """Unlocks it. A second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _rename(self) -> Path | None:
        if self.path.is_symlink() or self.path.is_file():
            self.path.unlink()
        if not self.path.exists():
            return None
        return self.path.rename(self.path.with_name(f"{self.path.name}.gone-{secrets.token_hex(4)}"))
