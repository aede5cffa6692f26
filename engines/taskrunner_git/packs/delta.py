"""Git's deltas: an object as pieces of another one."""

from __future__ import annotations

from taskrunner_git.failures import Broken

MOST_IN_MEMORY = 256 << 20
"""Bytes of an object that has to be whole in memory. A server makes no deltas of what is over 512 MiB, and seldom any
of what comes near it; a hostile one could describe terabytes in a line."""
_COPY_ALL = 0x10000
"""What a copy of length 0 means."""


def apply_delta(base: bytes, delta: bytes) -> bytes:
    """The object that a delta describes. Raises Broken."""
    try:
        return _apply(memoryview(base), delta)
    except IndexError:
        raise Broken("a delta ends too early") from None


def _apply(base: memoryview, delta: bytes) -> bytes:
    expected, at = _varint(delta, 0)
    size, at = _varint(delta, at)
    if expected != len(base) or size > MOST_IN_MEMORY:
        raise Broken("a delta does not fit its base, or is too large")
    pieces: list[bytes | memoryview] = []
    left = size
    while at < len(delta):
        piece, at = _copy(base, delta, at) if delta[at] & 0x80 else _insert(delta, at)
        left -= len(piece)
        if left < 0:
            break
        pieces.append(piece)
    if left:
        raise Broken("a delta has not the size that it claims")
    return b"".join(pieces)


def _insert(delta: bytes, at: int) -> tuple[bytes, int]:
    length = delta[at]
    at += 1
    if not length or at + length > len(delta):
        raise Broken("a delta has a wrong instruction")
    return delta[at : at + length], at + length


def _copy(base: memoryview, delta: bytes, at: int) -> tuple[memoryview, int]:
    flags = delta[at]
    at += 1
    offset = length = 0
    for shift in range(4):
        if flags >> shift & 1:
            offset |= delta[at] << 8 * shift
            at += 1
    for shift in range(3):
        if flags >> (4 + shift) & 1:
            length |= delta[at] << 8 * shift
            at += 1
    length = length or _COPY_ALL
    if offset + length > len(base):
        raise Broken("a delta copies from behind the end of its base")
    return base[offset : offset + length], at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
    return value | data[at] << shift, at + 1
