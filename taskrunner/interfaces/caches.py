"""CacheFolder and Caches: folders that outlive a run, and the leases that runs use them by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path


class CacheFolder(ABC):
    """One folder on disk, of the kind that a platform can attach."""

    name: str
    path: Path

    @abstractmethod
    async def size(self) -> int:
        """Bytes on disk."""

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

    async def trim(self, *, min_free: int = 0) -> int:
        """Deletes copies that are not leased, the least recently used first, until the disk has `min_free` bytes free.
        Returns how many it deleted; by default none can be.

        Raises: OSError.
        """
        return 0
