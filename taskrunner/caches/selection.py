"""Which copy of a cache a run gets: the most recently used one that is free and clean, or a new one.

All functions block, for milliseconds as a rule. Their errors are those of the disk: OSError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskrunner.caches.cache_copy import CacheCopy
from taskrunner.files.file_lock import locked
from taskrunner.files.private import make_private_folder

_LOCK = re.compile(r"(\d+)\.lock")
_NUMBER = re.compile(r"\d+")


def acquire(place: Path, *, shared: bool) -> tuple[CacheCopy, list[Path]]:
    """The copy to use, locked, and which evicted folders are to be deleted."""
    broken: list[Path] = []
    with choosing(place):
        for copy in copies(place):
            if copy.acquire(shared=shared):
                if copy.usable:
                    return _prepared(copy, shared=shared), broken
                broken += [gone] if (gone := copy.evict()) else []
        return _prepared(_new_copy(place), shared=shared), broken


def release_unused(copy: CacheCopy, *, shared: bool) -> None:
    """Releases a copy that no run has written to."""
    try:
        if not shared:
            copy.mark_clean()
    finally:
        copy.release()


def evict(copy: CacheCopy, *, only_broken: bool) -> Path | None:
    """Takes a copy that is not leased out of use. Returns the folder to be deleted."""
    with choosing(copy.path.parent):
        if not copy.acquire(shared=False):
            return None
        if only_broken and copy.usable:
            copy.release()
            return None
        return copy.evict()


def is_free(copy: CacheCopy) -> bool:
    """Whether a copy is not leased at this moment."""
    free = copy.acquire(shared=False)
    copy.release()
    return free


def copies(place: Path) -> list[CacheCopy]:
    """All copies of a cache, the most recently used first. Files of another origin are ignored."""
    found = [CacheCopy(place / match[1]) for path in place.iterdir() if (match := _LOCK.fullmatch(path.name))]
    return sorted(found, key=lambda copy: copy.used_at, reverse=True)


def evicted(place: Path) -> list[Path]:
    """Folders that were evicted and not deleted: their worker died, or deletes them now."""
    return sorted(path for path in place.glob("*.gone-*") if _NUMBER.match(path.name))


@contextmanager
def choosing(place: Path) -> Iterator[None]:
    """A copy of one cache is chosen or made inside of this, by one thread of all workers at a time.
    Makes the folder of the copies."""
    make_private_folder(place)
    with locked(place / "choosing"):
        yield


def _prepared(copy: CacheCopy, *, shared: bool) -> CacheCopy:
    try:
        if shared:
            copy.downgrade()
        else:
            copy.mark_dirty()
    except OSError:
        copy.release()
        raise
    return copy


def _new_copy(place: Path) -> CacheCopy:
    """A new empty copy, locked exclusively. Called inside `choosing`."""
    numbers = (int(match[0]) for path in place.iterdir() if (match := _NUMBER.match(path.name)))
    copy = CacheCopy(place / str(max(numbers, default=0) + 1))
    copy.make()
    return copy
