"""The contents of new files, kept inflated between the fetch and the first read.

A fetch inflates each object for its id, and a first build reads each file right after it: inflating again takes as long
as all other work on a small file. The kept contents are in a file without a name, which ends with the process at the
latest. They are found by their id, so that they cannot differ from what the packs have.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_MAX_SIZE = 256 << 20
"""Bytes in the file."""
_MAX_FILES = 50_000
"""Each takes some 200 bytes of memory: 10 MB."""
_PORTION = 1 << 18
"""Bytes that are written at a time."""


class Inflated:
    """Contents by their id. It never fails: what cannot be kept, or read back, is not found."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists when the first contents are added."""
        self._folder = folder
        self._file: BinaryIO | None = None
        self._places: dict[bytes, tuple[int, int]] = {}
        """Offset and size."""
        self._portion = bytearray()
        self._size = 0
        self._is_full = False

    def add(self, sha: bytes, data: bytes) -> None:
        """Keeps the contents of a file, if there is room."""
        if self._is_full or sha in self._places:
            return
        self._is_full = self._size + len(data) > _MAX_SIZE or len(self._places) >= _MAX_FILES
        if not self._is_full:
            self._places[sha] = (self._size, len(data))
            self._portion += data
            self._size += len(data)
        if self._is_full or len(self._portion) >= _PORTION:
            self._write()

    def get(self, sha: bytes) -> bytes | None:
        place = self._places.get(sha)
        if place is None:
            return None
        if self._portion:
            self._write()
        if self._file is None:
            return None
        offset, size = place
        with suppress(OSError):
            data = os.pread(self._file.fileno(), size, offset)
            return data if len(data) == size else None
        return None

    def close(self) -> None:
        """Forgets everything. A second call does nothing."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._places.clear()
        self._portion, self._size, self._is_full = bytearray(), 0, False

    def _write(self) -> None:
        """Without room on the disk nothing is kept, and the fetch itself reports it."""
        portion, self._portion = self._portion, bytearray()
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115  `close` closes it
            left = memoryview(portion)
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            self.close()
            self._is_full = True
