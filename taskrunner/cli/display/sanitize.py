"""The log of a task on a terminal, which must not take orders from it."""

from __future__ import annotations

import re

import attrs

_ORDERS = re.compile(
    r"(\x1b\[[0-9;:]*m)"
    r"|\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
"""What a terminal obeys. The first group is colours, the only orders that a task may give: anything else could draw
over the line below, or worse."""


LONGEST_LINE = 1 << 18
"""Bytes after which a line is cut, which nobody reads to its end: a log need not have any."""


@attrs.define
class WholeLines:
    """Cuts a stream of bytes between lines."""

    rest: bytes = b""
    """The begin of a line whose end has not come yet."""

    def feed(self, piece: bytes) -> bytes:
        """The lines that this piece completes."""
        lines, end, self.rest = (self.rest + piece).rpartition(b"\n")
        if len(self.rest) > LONGEST_LINE:
            end, self.rest = end + self.rest, b""
        return lines + end


def harmless(data: bytes) -> str:
    """The lines of a log for a terminal: colours stay, other orders go; of a line that was drawn several times, the
    last state. Ends with the end of a line and the terminal's own colour."""
    lines = data.decode("utf-8", "replace").split("\n")
    newest = (line.rstrip("\r").rpartition("\r")[2] for line in lines)
    text = _ORDERS.sub(lambda match: match[1] or "", "\n".join(newest))
    return text.removesuffix("\n") + "\x1b[0m\n"
