"""How large an archive may be, and what one that is being unpacked has used of that."""

from __future__ import annotations

import attrs

from taskrunner.connections import Connections
from taskrunner.files.archives.refusal import archive_refused

MAX_MEMBERS = 1_000_000
"""Members and extra headers. The Linux kernel has 90,000 files, Chromium 500,000."""
MAX_BYTES = 16 << 30
"""Bytes after decompression, headers included: ten times the Linux kernel, which has 1.5 GB."""
MAX_RATIO = 250
"""Bytes after decompression for each byte of the archive. Source code compresses 4 to 12 times; a tar of many small
files about 60 times, since it is mostly padding. zlib reaches 1,032 and xz 7,000 with zeros."""
HARMLESS_BYTES = 64 << 20
"""Bytes that an archive may have after decompression whatever its ratio is: a small one may be mostly padding."""
MAX_LINK_STEPS = 10_000_000
"""Parts of paths that are followed to see where the symbolic links lead: some seconds. The kernel needs 1,000."""


@attrs.frozen
class Bounds:
    """The limits of one unpacking."""

    members: int = MAX_MEMBERS
    bytes: int = MAX_BYTES
    ratio: int = MAX_RATIO
    harmless_bytes: int = HARMLESS_BYTES
    link_steps: int = MAX_LINK_STEPS


@attrs.define
class Usage:
    """What one archive has used of its bounds. Each method raises Interrupted once the call was given up."""

    bounds: Bounds
    archive_size: int
    connections: Connections
    members: int = 0
    bytes: int = 0
    link_steps: int = 0

    def add_member(self) -> None:
        """Raises: TaskFailed, Interrupted."""
        self.connections.check()
        self.members += 1
        if self.members > self.bounds.members:
            raise archive_refused(f"has more than {self.bounds.members} members")

    def add_bytes(self, size: int) -> None:
        """Counts what came out of a decompressor. Raises: TaskFailed, Interrupted."""
        self.connections.check()
        self.bytes += size
        if self.bytes > self.bounds.bytes:
            raise archive_refused(f"has more than {self.bounds.bytes} bytes when it is unpacked")
        if self.bytes > max(self.bounds.harmless_bytes, self.bounds.ratio * self.archive_size):
            raise archive_refused(f"becomes more than {self.bounds.ratio} times as large when it is unpacked")

    def add_link_step(self) -> None:
        """Raises: TaskFailed, Interrupted."""
        self.connections.check()
        self.link_steps += 1
        if self.link_steps > self.bounds.link_steps:
            raise archive_refused("has symbolic links through so many others that they cannot be checked")
