r"""The forms in which programs print a secret, for `Masker`.

plain        the value; each longer line of a value of many lines, since programs print such a secret line by line and
             with other line ends
URL          the spellings of percent-encoding, and all bytes of it encoded: `%70%77`
escapes      the value in a JSON text, in HTML, quoted for a shell (`'...'`, `"..."`, backslashes), and its bytes as
             `\x70\x77`
UTF-16       both byte orders
base64       both alphabets, at each of the three alignments that the value can have inside a longer text (a token in
             `user:token`)
hexadecimal  both cases

The last two are also found when they are broken into lines, as MIME (76 characters), PEM (64) and `xxd -p` (60) do.
"""

from __future__ import annotations

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from itertools import product
from urllib.parse import quote, quote_plus

import attrs

MIN_LINE = 8
"""Bytes. Shorter lines of a secret of many lines (`}`, `EOF`, `- true`) are ordinary text when they stand alone."""

CUT_BY_A_BREAK = 3
"""Characters that may stand before the first line break: a form without them is a form as well, if it is long."""

MIN_CUT = 16
"""Characters of a form without its first ones: a shorter one could be ordinary text."""

APOSTROPHES = ("'", "&#x27;", "&#39;", "&#039;", "&apos;")
QUOTATIONS = ('"', "&quot;", "&#34;")
"""What stands for them in HTML and XML: of Python, Go, PHP and JavaScript."""


@attrs.frozen
class Forms:
    """The forms of some secrets."""

    exact: frozenset[bytes] = frozenset()
    """Found as they are."""
    wrapped: frozenset[bytes] = frozenset()
    """Found with line breaks in them too."""

    def __or__(self, other: Forms) -> Forms:
        return Forms(self.exact | other.exact, self.wrapped | other.wrapped)

    def __sub__(self, other: Forms) -> Forms:
        return Forms(self.exact - other.exact, self.wrapped - other.wrapped)


def encode(text: str) -> bytes:
    """A text as a task sees it in its environment; a text that no environment can hold is encoded too."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def forms_of(value: bytes) -> Forms:
    """All forms of a secret of at least `masking.MIN_SECRET` bytes."""
    lines = (line.strip() for line in value.splitlines()) if b"\n" in value else ()
    texts = {value, *(line for line in lines if len(line) >= MIN_LINE)}
    exact = {*texts, *_urls(value), *_escapes(value)}
    encoded = {*_base64(value), value.hex().encode(), value.hex().upper().encode()}
    cut = {form[n:] for form in encoded for n in range(1, CUT_BY_A_BREAK + 1) if len(form) - n >= MIN_CUT}
    return Forms(frozenset(exact), frozenset(encoded | cut))


def _urls(value: bytes) -> Iterator[bytes]:
    for spell in (quote, quote_plus):
        for safe in ("", "/"):
            yield spell(value, safe).encode()
    yield from _each_byte(value, "%")


def _each_byte(value: bytes, mark: str) -> Iterator[bytes]:
    """Every byte in hexadecimal behind a mark, in both cases."""
    for case in ("02x", "02X"):
        yield "".join(f"{mark}{byte:{case}}" for byte in value).encode()


def _escapes(value: bytes) -> Iterator[bytes]:
    yield from _each_byte(value, "\\x")
    yield value.replace(b"'", b"'\\''")  # in '...' of a shell, and as Python's shlex
    yield value.replace(b"'", b"'\"'\"'")
    yield _backslashed(value, b'\\"$`')  # in "..."
    yield _backslashed(value, b" \t!\"#$&'()*,;<>?[\\]^`{|}~")  # without quotes, as bash's printf %q
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    for ascii_only in (True, False):
        yield json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()
    yield json.dumps(text)[1:-1].replace("/", "\\/").encode()  # PHP's
    for apostrophe, quotation in product(APOSTROPHES, QUOTATIONS):
        yield html.escape(text, quote=False).replace("'", apostrophe).replace('"', quotation).encode()
    for order in ("utf-16-le", "utf-16-be"):
        form = text.encode(order, "surrogatepass").strip(b"\0")  # the outer zero may be cut off by the reader
        if len(form) >= MIN_LINE:
            yield form


def _backslashed(value: bytes, special: bytes) -> bytes:
    return b"".join(b"\\%c" % byte if byte in special else b"%c" % byte for byte in value)


def _base64(value: bytes) -> Iterator[bytes]:
    """The base64 of a value at any offset in a longer text: the characters that depend on the value alone, and those up
    to the end when the value is the last part of that text.
    """
    for spell in (b64encode, urlsafe_b64encode):
        for before, mixed in ((0, 0), (1, 2), (2, 3)):
            full = spell(bytes(before) + value)[mixed:]
            alone = (before + len(value)) * 8 // 6 - mixed
            yield from (full[:alone], full.rstrip(b"="), full)
