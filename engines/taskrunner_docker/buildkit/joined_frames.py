"""Fewer frames for h2: DATA frames of one call that follow each other become one.

BuildKit requests each file in a frame of its own, and h2 takes 20 µs or more for a frame, of whatever size. The bytes
and their flow control stay the same; everything but plain DATA frames passes as it came.
Source: https://www.rfc-editor.org/rfc/rfc9113#section-4.1.
"""

from __future__ import annotations

PREFACE = 24
"""Bytes that a client sends before its first frame."""
MAX_PAYLOAD = 1 << 14
"""Bytes in a frame, as long as this side has not allowed more."""
_HEAD = 9
"""Bytes: the payload's length in 3, type and flags in 1 each, the stream in 4."""
_PLAIN_DATA = b"\0\0"
"""Type and flags of data without padding that does not end its stream."""


class JoinedFrames:
    """The bytes of one peer, from the first. A frame that has not come whole is kept back."""

    def __init__(self) -> None:
        self._preface_left = PREFACE
        self._rest = b""
        self._kind, self._run = b"", bytearray()
        """Type, flags and stream of the last DATA frames, and their payloads."""

    def feed(self, data: bytes) -> bytes:
        """The next bytes for h2. A frame that is larger than allowed is among them, for h2 to refuse."""
        preface = data[: self._preface_left]
        self._preface_left -= len(preface)
        joined = bytearray(preface)
        source, at = self._rest + data[len(preface) :], 0
        while len(source) - at >= _HEAD:
            size = int.from_bytes(source[at : at + 3], "big")
            end = at + _HEAD + size
            if size > MAX_PAYLOAD:
                end = len(source)
            elif end > len(source):
                break
            joined += self._next(source[at:end], size)
            at = end
        self._rest = source[at:]
        return bytes(joined + self._ended())

    def _next(self, frame: bytes, size: int) -> bytes:
        """What is complete with one more frame, whose payload has `size` bytes by its own account."""
        kind = frame[3:_HEAD]
        if kind == self._kind and len(self._run) + size <= MAX_PAYLOAD:
            self._run += frame[_HEAD:]
            return b""
        before = self._ended()
        if not kind.startswith(_PLAIN_DATA) or size > MAX_PAYLOAD:
            return before + frame
        self._kind, self._run = kind, bytearray(frame[_HEAD:])
        return before

    def _ended(self) -> bytes:
        """The joined frames so far."""
        kind, run = self._kind, self._run
        self._kind, self._run = b"", bytearray()
        return len(run).to_bytes(3, "big") + kind + run if kind else b""
