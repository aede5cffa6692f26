"""One copy of a cache on disk, and who holds it: no memory of it anywhere else, so any number of workers may share it.

Copy 3 of a cache is made of three neighbours::

    3         the folder itself
    3.lock    held with flock while the copy is used: exclusive, or shared by readers. Its time is when it was last used
    3.dirty   there while somebody may write, and when somebody has thrown the copy away

The kernel lets go of the lock when its holder dies; the mark stays. So a copy that is free and dirty was left in the
middle of a run, and is never used again. A folder on its way out is renamed to `3.gone-...` first, and then deleted.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = re.compile(r"(\d+)\.lock")
_NUMBER = re.compile(r"\d+")


class CacheCopy:
    """A copy that this object may hold. All errors are those of the disk: OSError."""

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
        """Whether it may be used as it is."""
        return self.path.is_dir() and not self.path.is_symlink() and not self._dirty.exists()

    def make(self) -> None:
        """Makes it, empty, and holds it alone. Called inside `choosing`, like `hold`."""
        self._file = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.path.mkdir()

    def acquire(self, *, shared: bool) -> bool:
        """Takes it if it is free. False: others have it, or it has just gone."""
        try:
            self._file = os.open(self._lock_path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        if self._flock(shared=shared) and self._is_there():
            return True
        self.release()
        return False

    def downgrade(self) -> None:
        """From now on others may read it, too."""
        self._flock(shared=True)

    def mark_dirty(self) -> None:
        """Whoever finds it free from now on must not use it."""
        self._dirty.touch()

    def mark_clean(self) -> None:
        """It is good as it is now, and was used just now."""
        self._dirty.unlink(missing_ok=True)
        self.touch()

    def touch(self) -> None:
        """It was used just now."""
        os.utime(self._lock_path)

    def evict(self) -> Path | None:
        """If nobody else holds it: takes it out of use and lets go of it. Returns what is left to be deleted."""
        try:
            if not self._flock(shared=False):
                return None
            gone = self._rename()
            self._dirty.unlink(missing_ok=True)
            self._lock_path.unlink(missing_ok=True)
        finally:
            self.release()
        return gone

    def release(self) -> None:
        """Lets go of it. A second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _rename(self) -> Path | None:
        if self.path.is_symlink() or self.path.is_file():
            self.path.unlink()
        if not self.path.exists():
            return None
        return self.path.rename(self.path.with_name(f"{self.path.name}.gone-{secrets.token_hex(4)}"))

    def _flock(self, *, shared: bool) -> bool:
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _is_there(self) -> bool:
        """False when somebody set it aside between our opening the lock and having it."""
        try:
            return os.path.samestat(os.fstat(self._file), self._lock_path.stat())
        except FileNotFoundError:
            return False


@contextmanager
def choosing(place: Path) -> Iterator[None]:
    """Choosing a copy of one cache, or making one, happens inside of this: one chooser at a time, for milliseconds.
    Makes the folder of the copies."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(place / "choosing", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def copies(place: Path) -> list[CacheCopy]:
    """All copies of a cache, the most recently used first. Files that are nothing of ours are ignored."""
    found = [CacheCopy(place / match[1]) for path in place.iterdir() if (match := _LOCK.fullmatch(path.name))]
    return sorted(found, key=lambda copy: copy.used_at, reverse=True)


def new_copy(place: Path) -> CacheCopy:
    """A new empty copy, held alone. Called inside `choosing`."""
    numbers = (int(match[0]) for path in place.iterdir() if (match := _NUMBER.match(path.name)))
    copy = CacheCopy(place / str(max(numbers, default=0) + 1))
    copy.make()
    return copy


def evicted(place: Path) -> list[Path]:
    """Folders that were set aside and not deleted, since somebody died, or is still at it."""
    return sorted(path for path in place.glob("*.gone-*") if _NUMBER.match(path.name))
