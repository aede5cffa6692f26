"""From a thin pack, whose deltas have bases elsewhere, to a pack that stands alone, as `git index-pack --fix-thin`.

A server sends thin packs when the mirror has older versions of the same files.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from taskrunner_git.packs.index import record
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import HEADER, TRAILER, made_head

_COUNT_AT = 8
"""Where the header has the number of objects, in 4 bytes."""
_READ = 1 << 20


def complete(
    path: Path, bases: Iterable[bytes], objects: Objects, check: Callable[[], None]
) -> tuple[list[bytes], bytes]:
    """Appends the bases to the pack at `path`. Returns their index records, and the SHA-1 that the pack ends with
    now. Raises Broken, OSError, and the errors of `check`."""
    with path.open("r+b") as file:
        end = file.seek(-TRAILER, 2)
        file.truncate()
        records = []
        for sha in sorted(bases):
            kind, data = objects.read(sha)
            raw = made_head(kind, len(data)) + zlib.compress(data, 1)
            records.append(record(sha, zlib.crc32(raw), end, len(data), kind))
            end += file.write(raw)
            check()
        return records, finish(file, len(records), check)


def finish(file: BinaryIO, more: int, check: Callable[[], None]) -> bytes:
    """Adds to the number of objects in the header, and appends the SHA-1 of the file, which is returned."""
    file.seek(_COUNT_AT)
    count = int.from_bytes(file.read(HEADER - _COUNT_AT)) + more
    file.seek(_COUNT_AT)
    file.write(count.to_bytes(HEADER - _COUNT_AT))
    digest = hashlib.sha1(usedforsecurity=False)
    file.seek(0)
    while data := file.read(_READ):
        check()
        digest.update(data)
    file.write(digest.digest())
    return digest.digest()
