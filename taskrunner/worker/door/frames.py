"""Frames: what both sides send on a connection of the door that a verb has taken over.

A frame is a byte for its kind, the length of its data in four bytes (the highest first), and the data, of at most
`MAX_FRAME` bytes.

======  ==========  =====================================================================================
kind    sent by     data
======  ==========  =====================================================================================
`i`     client      a piece of the standard input
`e`     client      nothing: the standard input ends
`s`     client      the size of the terminal: rows and columns, in two bytes each
`t`     worker      how many bytes of the input the command has taken since the last such frame, in four bytes
`o`     worker      a piece of the output, with a terminal also that of stderr
`r`     worker      a piece of stderr
`x`     worker      the exit status in four bytes, with a sign: minus the signal's number when a signal ended it
`f`     worker      a text: why the command cannot be observed any more, or was stopped
======  ==========  =====================================================================================

A client may have sent `WINDOW` bytes of input that no `t` has answered. So the worker always reads, and knows at once
that a client has changed its size, or has gone, while its command reads nothing; and it never holds more than this.
Output needs no such rule: a client that does not read stops the worker's writing, and so the command.
"""

from __future__ import annotations

import asyncio
import struct
from enum import Enum

import attrs

from taskrunner.interfaces.execution import Size
from taskrunner.worker.door.protocol import DoorError

MAX_FRAME = 1 << 16
"""Bytes of data in a frame: what a pipe holds on Linux."""

WINDOW = 4 * MAX_FRAME
"""Bytes of input on their way: enough to keep a command busy while the answer travels."""


MOST_CELLS = (1 << 16) - 1
"""Rows or columns: the kernel has two bytes for each."""


class FrameKind(bytes, Enum):
    """What a frame holds."""

    INPUT = b"i"
    INPUT_END = b"e"
    SIZE = b"s"
    TAKEN = b"t"
    OUTPUT = b"o"
    ERRORS = b"r"
    EXIT = b"x"
    FAILED = b"f"


_HEADER = struct.Struct(">cI")
_SIZE = struct.Struct(">HH")
_TAKEN = struct.Struct(">I")
_STATUS = struct.Struct(">i")


@attrs.frozen
class Link:
    """One side of such a connection. One coroutine receives; several may send."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def receive(self) -> tuple[FrameKind, bytes] | None:
        """The next frame; None at the end of the connection. Raises DoorError, OSError."""
        try:
            kind, length = _HEADER.unpack(await self.reader.readexactly(_HEADER.size))
            if length > MAX_FRAME:
                raise DoorError("too-long", f"a frame may have {MAX_FRAME:,} bytes")
            return FrameKind(kind), await self.reader.readexactly(length)
        except asyncio.IncompleteReadError:
            return None
        except ValueError:
            raise DoorError("malformed", "this kind of frame is not known here") from None

    async def send(self, kind: FrameKind, data: bytes = b"") -> None:
        """Waits while the other side does not read. Raises OSError when it has gone."""
        view = memoryview(data)
        for start in range(0, len(view) or 1, MAX_FRAME):
            piece = view[start : start + MAX_FRAME]
            self.writer.write(_HEADER.pack(kind.value, len(piece)))
            self.writer.write(piece)
            await self.writer.drain()


def pack_size(size: Size) -> bytes:
    return _SIZE.pack(*(min(max(number, 0), MOST_CELLS) for number in (size.rows, size.columns)))


def unpack_size(data: bytes) -> Size:
    """Raises DoorError."""
    if len(data) != _SIZE.size:
        raise DoorError("malformed", "a size has four bytes: rows and columns")
    return Size(*_SIZE.unpack(data))


def pack_taken(count: int) -> bytes:
    return _TAKEN.pack(count)


def unpack_taken(data: bytes) -> int:
    return int(_TAKEN.unpack(data)[0])


def pack_status(status: int) -> bytes:
    return _STATUS.pack(status)


def unpack_status(data: bytes) -> int:
    return int(_STATUS.unpack(data)[0])
