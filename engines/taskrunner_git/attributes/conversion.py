"""What git does to a file's contents on checkout: `convert.c`, on Linux and without any configuration.

First `ident`, then the ends of lines, then the encoding. A filter is not run: git runs only those that are configured,
and passes the contents on as they are otherwise.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from functools import cache

import attrs

from taskrunner_git.attributes.rules import Value

_LONE_LF = re.compile(rb"(?<!\r)\n")
_CONTROL = bytes(sorted({*range(32), 127} - set(b"\n\b\t\x1b\f")))
"""Bytes that git takes for no text."""
_ENCODINGS = frozenset(
    [
        "utf-8",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-32-le",
        "utf-32-be",
        "ascii",
        "cp1250",
        "cp1251",
        "cp1252",
        "koi8-r",
        "iso8859-1",
        "iso8859-2",
        "iso8859-5",
        "iso8859-7",
        "iso8859-9",
        "iso8859-15",
    ]
)
"""Python's encodings that give the same bytes as the iconv of git."""
_BOMS = {"utf-16le-bom": ("utf-16-le", codecs.BOM_UTF16_LE), "utf-16be-bom": ("utf-16-be", codecs.BOM_UTF16_BE)}
"""git's own names."""


class Unsupported(ValueError):
    """A conversion that is not possible here, in words for the author of the repository."""


@attrs.frozen
class Conversion:
    """Without any, the contents are those in the repository."""

    ident: bool = False
    crlf: str = ""
    """`text`, or `auto`: only where the contents look like text."""
    encoding: str = ""
    is_lfs: bool = attrs.field(default=False, eq=False)

    @property
    def changes(self) -> bool:
        """Whether contents may change."""
        return self.ident or bool(self.crlf or self.encoding)

    def apply(self, data: bytes, sha: bytes) -> bytes:
        """The contents on checkout; `sha` is the id of the blob. Raises Unsupported."""
        if self.ident:
            data = b"".join(_with_idents(data, b"$Id: %b $" % sha.hex().encode()))
        if self.crlf and not (self.crlf == "auto" and _is_binary(data)):
            data = _LONE_LF.sub(b"\r\n", data)
        return _encoded(data, self.encoding) if self.encoding and data else data


NO_CONVERSION = Conversion()


def conversion(found: Mapping[bytes, Value]) -> Conversion:
    """From the attributes of one path."""
    value = found.get(b"working-tree-encoding")
    encoding = "true" if value is True else "false" if value is False else (value or b"").decode("utf-8", "replace")
    is_utf8 = encoding.lower() in {"utf-8", "utf8"}
    is_lfs = found.get(b"filter") == b"lfs"
    return Conversion(found.get(b"ident") is True, _crlf(found), "" if is_utf8 else encoding, is_lfs)


def _crlf(found: Mapping[bytes, Value]) -> str:
    """The old name of `text` is `crlf`. `eol` alone makes a file a text, and counts for nothing in a binary file."""
    kinds: dict[Value, str] = {True: "text", False: "binary", b"auto": "auto", b"input": "text"}
    kind = kinds.get(found.get(b"text")) or kinds.get(found.get(b"crlf")) or "text"
    return kind if kind != "binary" and found.get(b"eol") == b"crlf" else ""


def _is_binary(data: bytes) -> bool:
    """Whether git leaves the ends of lines of an `auto` file: it is no text, or has a carriage return already."""
    if b"\r" in data or b"\0" in data:
        return True
    control = len(data) - len(data.translate(None, _CONTROL))
    printable = len(data) - control - data.count(b"\n")
    return printable >> 7 < control - data.endswith(b"\x1a")


def _with_idents(data: bytes, replacement: bytes) -> Iterator[bytes]:
    """The pieces of the contents. `$Id: $` with text of another system in it stays."""
    at = 0
    while (start := data.find(b"$Id", at)) >= 0:
        yield data[at:start]
        at = start + 3
        end = at if data.startswith(b"$", at) else data.find(b"$", at) if data.startswith(b":", at) else -1
        if end >= 0 and _is_ours(data[at:end]):
            yield replacement
            at = end + 1
        else:
            yield b"$Id"
    yield data[at:]


def _is_ours(text: bytes) -> bool:
    return b"\n" not in text and text.find(b" ", 2) in {-1, len(text) - 1}


def _encoded(data: bytes, name: str) -> bytes:
    """Git leaves contents that the encoding cannot hold as they are."""
    encoding, bom = _codec(name)
    try:
        return bom + data.decode("utf-8").encode(encoding)
    except UnicodeError:
        return data


@cache
def _codec(name: str) -> tuple[str, bytes]:
    if name.lower() in _BOMS:
        return _BOMS[name.lower()]
    try:
        encoding = codecs.lookup(name).name
    except (LookupError, ValueError):
        encoding = ""
    if encoding not in _ENCODINGS:
        raise Unsupported(f"working-tree-encoding={name!r} in .gitattributes is not supported")
    return encoding, b""
