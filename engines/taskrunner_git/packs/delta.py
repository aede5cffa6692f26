"""Git's deltas: an object as pieces of another one. dulwich's compiled code applies them."""

from __future__ import annotations

import dulwich.pack
from dulwich.errors import ApplyDeltaError

from taskrunner_git.failures import Broken

MAX_HEADER = 20
"""Bytes of the two sizes that a delta begins with, at most."""
_MOST_BITS = 24
"""Of the bytes that one instruction copies."""
_MAX_BITS = 63
"""Bits of a size in a delta: git itself takes no more."""


def apply_delta(base: bytes, delta: bytes) -> bytes:
    """The object that a delta describes. Check its `described_size` before: it is allocated. Raises Broken."""
    if described_size(delta) > len(delta) << _MOST_BITS:
        raise Broken("a delta describes an object that it cannot make")
    try:
        return b"".join(dulwich.pack.apply_delta(base, delta))
    except ApplyDeltaError:
        raise Broken("a delta is damaged, or does not fit its base") from None


def described_size(delta: bytes) -> int:
    """Bytes of the object: the second number of a delta, after the size of the base. The first MAX_HEADER bytes of the
    delta suffice. Raises Broken."""
    try:
        _, at = _varint(delta, 0)
        return _varint(delta, at)[0]
    except IndexError:
        raise Broken("a delta ends too early") from None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if shift > _MAX_BITS:
            raise Broken("a size in a delta is absurdly large")
    return value | data[at] << shift, at + 1
