"""ArchiveFile: an archive that is open, whose checksum is known, and that nobody else can write to."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import attrs

from taskrunner.connections import Connections
from taskrunner.errors import TaskFailed
from taskrunner.files.archives.refusal import REASON
from taskrunner.files.checksum import sha256_of


@attrs.frozen
class ArchiveFile:
    """An open file of ours. It stays what it is when its path is removed."""

    name: str
    """For messages."""
    file: BinaryIO
    sha256: str


def checked(name: str, file: BinaryIO, wanted: str, connections: Connections) -> ArchiveFile:
    """Reads all of a file of ours. `wanted` is its checksum, or empty when any will do. Blocks.

    Raises: TaskFailed `source-refused` (another checksum), Interrupted, OSError.
    """
    return ArchiveFile(name, file, _checksum(name, file, wanted, connections, lambda _: None))


def copied(name: str, file: BinaryIO, wanted: str, connections: Connections, folder: Path) -> ArchiveFile:
    """The same for a file of somebody else, of which it makes a copy without a name on the disk of a folder: what is
    unpacked must be what was checked, whoever writes to the file meanwhile. Closes `file`."""
    with file:
        copy = cast("BinaryIO", tempfile.TemporaryFile(dir=folder))  # noqa: SIM115  the caller closes it
        try:
            return ArchiveFile(name, copy, _checksum(name, file, wanted, connections, copy.write))
        except BaseException:
            copy.close()
            raise


def _checksum(name: str, file: BinaryIO, wanted: str, connections: Connections, each: Callable[[bytes], object]) -> str:
    found = sha256_of(file, connections, each)
    if wanted and found != wanted.lower():
        raise TaskFailed(REASON, f"source: {name} has the sha256 {found}, and not {wanted.lower()}")
    return found
