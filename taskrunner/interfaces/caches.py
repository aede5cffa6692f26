"""CacheFolder and Caches: folders that outlive a run, and the leases that runs use them by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import attrs
from attrs.validators import ge, optional

from taskrunner.byte_counts import ByteCount


@attrs.frozen
class CacheUsage:
    """What caches take on disk."""

    size: int = 0
    """Bytes."""
    inodes: int = 0
    """Files, folders and links."""

    def __add__(self, other: CacheUsage) -> CacheUsage:
        return CacheUsage(self.size + other.size, self.inodes + other.inodes)

    def __sub__(self, other: CacheUsage) -> CacheUsage:
        return CacheUsage(self.size - other.size, self.inodes - other.inodes)


@attrs.frozen
class CacheLimits:
    """The `[caches]` table of the worker's configuration: how much all caches of the home may take together, those of
    engines included. Beyond it, the least recently used are evicted before the next run, but none that is in use."""

    max_size: ByteCount | None = attrs.field(default=None, validator=optional(ge(0)))
    """Bytes. None: any number."""
    max_inodes: int | None = attrs.field(default=None, validator=optional(ge(0)))
    """Files, folders and links. None: any number."""
    min_free: ByteCount = attrs.field(default=0, validator=ge(0))
    """Bytes that are left free on the disk of the home."""


class CacheFolder(ABC):
    """One folder on disk, of the kind that a platform can attach."""

    name: str
    path: Path

    @abstractmethod
    async def usage(self) -> CacheUsage:
        """What it takes on disk. A file with several names counts once."""

    @abstractmethod
    async def delete(self) -> None:
        """Removes it. Cannot fail: what it could not remove, it logs."""


class Lease(ABC):
    """The right to use one cache folder. Ends in exactly one of two ways; a second call does nothing."""

    folder: CacheFolder

    @abstractmethod
    async def commit(self) -> None:
        """Keeps the folder as it is now. Only after a clean end: a killed run may have left a lock, or half a file."""

    @abstractmethod
    async def discard(self) -> None:
        """Deletes the folder once its last lease has ended; the next run gets an empty one."""


class Caches(ABC):
    """All caches of a worker's home, shared by every worker on it. Names match `limits.CACHE_PATTERN`."""

    @abstractmethod
    async def exclusive(self, name: str) -> Lease:
        """A folder without any other lease: the most recently used free copy of that name, or a new empty one.

        Raises: MalformedPayload (a bad name), TaskFailedInternally (the disk).
        """

    @abstractmethod
    async def shared(self, name: str) -> Lease:
        """A folder that several runs may lease at the same time, and only read. Same errors as `exclusive`."""

    @abstractmethod
    def filling(self, name: str) -> AbstractAsyncContextManager[None]:
        """One caller at a time is inside of it, of all workers on the home: it fills the cache of this name, and those
        that have waited lease it and find it full. Waits without a limit; a worker that dies lets the next one in.

        Raises: MalformedPayload (a bad name), TaskFailedInternally (the disk).
        """

    async def trim(
        self, *, min_free: int = 0, max_bytes: int | None = None, max_age: float | None = None, dry_run: bool = False
    ) -> int:
        """Deletes copies that are not leased, the least recently used first, until the disk has `min_free` bytes free
        and all copies together have no more than `max_bytes`; and copies that were not used for `max_age` seconds.
        Returns how many it deleted, or with `dry_run` would have; by default none can be.

        Raises: OSError.
        """
        return 0
