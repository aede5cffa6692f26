"""Numbers of bytes as people write them: `512MiB`."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated

ByteCount = Annotated[int, "bytes"]
"""The type of a field that holds bytes: in a document a whole number, or a text such as `512MiB`."""

BYTES_PATTERN = r"(?:\d{1,15}|\d{1,7}\.\d{1,3})\s?(?:B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)"
"""A number with its unit, by IEC 80000-13. `512M` is refused: it is 2^20 to Docker, and 10^6 to Kubernetes."""

BYTES_HINT = 'write a whole number of bytes, or a text with its unit: "512MiB", "1.5GB"'

MAX_BYTES = 1 << 60
"""More than any machine has; the kernel counts in 63 bits."""

_UNITS = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip


def parse_bytes(text: str) -> int | None:
    """The bytes that a text names, a fraction of one cut off; None when it is not of the form."""
    if not re.fullmatch(BYTES_PATTERN, text, re.ASCII):
        return None
    number, unit = re.fullmatch(r"([\d.]+)\s?(\w+)", text, re.ASCII).groups()  # type: ignore[union-attr]  # it matches
    return int(Fraction(number) * _UNITS[unit])


def bytes_text(count: int) -> str:
    """For people: `512MiB`, `1.5GiB`, `1000B`. Reads back as the same number where it has at most one digit behind the
    point."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if count >= _UNITS[unit]:
            return f"{count / _UNITS[unit]:.1f}".removesuffix(".0") + unit
    return f"{count}B"
