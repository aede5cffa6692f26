"""The wire format of protobuf, as far as BuildKit's messages need it.

A message is a sequence of (field number, value): an int for the varint and fixed kinds, bytes for the length-delimited.
Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Value = int | memoryview
Table = Mapping[int, tuple[str, Callable[[Value], Any]]]
"""Field number to its name here, and the function that makes a Python value of it."""

VARINT_BITS = 70  # ten bytes of seven bits hold any 64 bit number; more is an attack or a bug
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SMALL = tuple(bytes([number]) for number in range(0x80))
_FIXED_SIZE = {FIXED64: 8, FIXED32: 4}


class WireError(ValueError):
    """The peer sent no protobuf message, or another one than belongs here."""


def encode_varint(number: int) -> bytes:
    """A number from -2**63 to 2**64 - 1; a negative one as its two's complement."""
    if 0 <= number <= 0x7F:  # noqa: PLR2004  seven bits a byte; most numbers are small, and there are five for each file
        return _SMALL[number]
    if 0 <= number <= 0x3FFF:  # noqa: PLR2004  two of them: the number or the size of most files
        return bytes((number & 0x7F | 0x80, number >> 7))
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004  the same
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode_field(field: int, value: int | str | bytes) -> bytes:
    """One field. Text is UTF-8; surrogate-escaped bytes are sent unchanged."""
    if isinstance(value, int):
        return encode_varint(field << 3 | VARINT) + encode_varint(value)
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return encode_varint(field << 3 | BYTES) + encode_varint(len(data)) + data


def fields(message: bytes | memoryview) -> Iterator[tuple[int, Value]]:
    """The fields of a message, in their order; copies nothing. Raises WireError."""
    view = memoryview(message)
    at = 0
    while at < len(view):
        key, at = read_varint(view, at)
        kind = key & 7
        if kind == VARINT:
            value, at = read_varint(view, at)
            yield key >> 3, value
            continue
        if kind == BYTES:
            size, at = read_varint(view, at)
        elif kind in _FIXED_SIZE:
            size = _FIXED_SIZE[kind]
        else:
            raise WireError(f"a field of the unknown kind {kind}")
        if size > len(view) - at:
            raise WireError(f"a field of {size} bytes in a message that has {len(view) - at} left")
        piece = view[at : at + size]
        at += size
        yield key >> 3, piece if kind == BYTES else int.from_bytes(piece, "little")


def read_varint(view: memoryview, at: int) -> tuple[int, int]:
    """The number at a place, and where it ends. Raises WireError."""
    result = shift = 0
    while True:
        if at >= len(view) or shift >= VARINT_BITS:
            raise WireError("a number that does not end")
        byte = view[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  the last byte has its top bit clear
            return result & ((1 << 64) - 1), at
        shift += 7


def read_message(message: bytes | memoryview, table: Table) -> dict[str, list[Any]]:
    """The known fields of a message by name, each with all its values; fields of a newer daemon are skipped.
    Raises WireError."""
    found: dict[str, list[Any]] = {}
    for number, value in fields(message):
        if number in table:
            name, convert = table[number]
            found.setdefault(name, []).append(convert(value))
    return found


def as_bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise WireError("a number where bytes belong")
    return bytes(value)


def as_text(value: Value) -> str:
    return as_bytes(value).decode("utf-8", "replace")


def as_int(value: Value) -> int:
    """A signed 64 bit number."""
    if not isinstance(value, int):
        raise WireError("bytes where a number belongs")
    return value - (1 << 64) if value >> 63 else value


def as_bool(value: Value) -> bool:
    return as_int(value) != 0


def as_time(value: Value) -> float:
    """A `google.protobuf.Timestamp` as seconds since 1970."""
    parts = read_message(as_bytes(value), {1: ("seconds", as_int), 2: ("nanos", as_int)})
    seconds: int = parts.get("seconds", [0])[-1]
    nanos: int = parts.get("nanos", [0])[-1]
    return seconds + nanos / 1e9
