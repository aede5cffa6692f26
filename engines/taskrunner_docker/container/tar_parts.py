"""The members of a tar stream and the pieces of their contents, in the thread that reads it."""

from __future__ import annotations

import tarfile

import attrs

from taskrunner_docker.api.tar import TarStream

PIECE = 1 << 20
"""Bytes of a file at a time. Each piece takes a trip to a thread, and another one into the store; on a busy machine a
trip waits for a processor longer than it copies. Most files have one piece."""
BATCH = PIECE // 2
"""Bytes that a trip reads at least, of as many small files as that are."""
HEADER = 2 * tarfile.BLOCKSIZE
"""Bytes that a member counts, besides its contents."""


@attrs.frozen
class TarMember:
    """One member, and the first piece of a file."""

    info: tarfile.TarInfo
    begin: bytes = b""


Part = TarMember | bytes
"""A member, or a further piece of the one before."""


class TarParts:
    """The parts of one stream. Used by one thread at a time."""

    def __init__(self, tar: TarStream) -> None:
        self._tar = tar
        self._rest: tarfile.ExFileObject | None = None
        """The file whose further pieces come next."""
        self._ended = False
        self._error: Exception | None = None

    def batch(self) -> list[Part]:
        """The next parts; none after the end. An error is raised after the parts before it, and by each call from then
        on. Raises: Unavailable, TarError."""
        parts, size = list[Part](), 0
        while size < BATCH and (part := self._next_before_error()):
            parts.append(part)
            size += len(part) if isinstance(part, bytes) else HEADER + len(part.begin)
        if self._error and not parts:
            raise self._error
        return parts

    def _next_before_error(self) -> Part | None:
        if self._ended or self._error:
            return None
        try:
            part = self._next()
        except Exception as error:  # noqa: BLE001  kept for the batch after this one
            self._error = error
            return None
        self._ended = part is None
        return part

    def _next(self) -> Part | None:
        if self._rest and (piece := _piece(self._rest)):
            return piece
        self._rest = None
        info = self._tar.next()
        if info is None:
            return None
        if not info.isreg():
            return TarMember(info)
        contents = self._tar.extract(info)
        begin = _piece(contents)
        self._rest = contents if len(begin) < info.size else None
        return TarMember(info, begin)


def _piece(contents: tarfile.ExFileObject) -> bytes:
    """Past the buffer that tarfile has for small reads: for a piece of this size it costs two more copies, and most of
    the kernel's time for reading."""
    return contents.raw.read(PIECE) or b""
