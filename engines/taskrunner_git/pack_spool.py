"""A pack on its way from the server to the disk, indexed as it arrives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import BinaryIO

from taskrunner.connections import Connections
from taskrunner.interfaces.source import SourceLimits
from taskrunner.model import Progress
from taskrunner_git.failures import quoted, too_much, unavailable
from taskrunner_git.packs.indexing import PackScan
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import TRAILER

_PORTION = 1 << 18
"""Bytes that are scanned at a time: a server sends 8 to 64 KiB."""


class PackSpool:
    """Used from the thread of the fetch."""

    def __init__(
        self, file: BinaryIO, objects: Objects, connections: Connections, progress: Callable[[Progress], None]
    ) -> None:
        """`file` is written to; `objects` are those of the mirror."""
        self.size = 0
        self.failure: OSError | None = None
        """The error of the disk."""
        self.scan = PackScan(objects, self.spend)
        self._file, self._connections, self._progress = file, connections, progress
        self._limits: SourceLimits = objects.limits
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._tail, self._portion, self._note = b"", bytearray(), ""
        self._spent = 0

    def spend(self, size: int) -> None:
        """Counts bytes that are inflated, or made by deltas. Raises TaskFailed over the limit; Interrupted."""
        self._connections.check()
        self._spent += size
        if self._spent > self._limits.unpacked_size:
            raise too_much("what the pack unpacks to", "unpacked_size", self._limits)

    def write(self, data: bytes) -> int:
        """Raises TaskFailed, Broken, OSError, Interrupted."""
        self._connections.check()
        try:
            self._file.write(data)
        except OSError as error:
            self.failure = error
            raise
        self.size += len(data)
        self._portion += data
        if len(self._portion) >= _PORTION:
            self._scan_portion()
        self._progress(Progress("clone", self.size, note=self._note))
        return len(data)

    def note(self, text: bytes) -> None:
        """Reports the server's own words on its progress."""
        self._connections.check()
        self._note = quoted(text) or self._note
        self._progress(Progress("clone", self.size, note=self._note))

    def finish(self) -> bytes:
        """The SHA-1 that the pack ends with. Raises Unavailable when the pack is incomplete; as `write`."""
        self._scan_portion()
        if self._tail != self._digest.digest():
            raise unavailable("the pack did not arrive whole")
        self.scan.finish()
        return self._tail

    def _scan_portion(self) -> None:
        data, self._portion = bytes(self._portion), bytearray()
        whole = self._tail + data
        self._digest.update(memoryview(whole)[:-TRAILER])
        self._tail = whole[-TRAILER:]
        self.scan.feed(data)
