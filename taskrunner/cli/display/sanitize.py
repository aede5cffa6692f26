"""Texts and logs for a terminal, without the control sequences by which they could draw over it, or worse."""

from __future__ import annotations

import re

import attrs

_CONTROLS = re.compile(
    r"(\x1b\[[0-9;:]*m)"
    r"|\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""Control sequences and characters, also those that change the direction of writing: by them a line can be made to look
like another. The first group is colours, the only ones that a task may use."""

LONGEST_LINE = 1 << 18
"""Bytes after which a line is cut: a log may have no line end at all."""


def printable(text: str) -> str:
    """A text with each control character but line feeds and tabs replaced."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in text)


def sanitize(data: bytes) -> str:
    """The lines of a log for a terminal: colours stay, other control sequences go; of a line that was drawn several
    times, the last state stays. Ends with the end of a line and the terminal's own colour."""
    lines = data.decode("utf-8", "replace").split("\n")
    newest = (line.rstrip("\r").rpartition("\r")[2] for line in lines)
    text = _CONTROLS.sub(lambda match: match[1] or "", "\n".join(newest))
    return text.removesuffix("\n") + "\x1b[0m\n"


def sanitize_piece(text: str) -> str:
    """A piece of a stream, cut anywhere, for a terminal: colours stay, other control sequences go, and a line that is
    drawn again is a line of its own."""
    return _CONTROLS.sub(lambda match: match[1] or "", re.sub(r"\r\n?", "\n", text))


@attrs.define
class LineBuffer:
    """Makes whole lines of a stream of bytes that is cut anywhere."""

    rest: bytes = b""
    """The beginning of a line whose end has not come yet."""

    def feed(self, piece: bytes) -> bytes:
        """The lines that this piece completes."""
        lines, end, self.rest = (self.rest + piece).rpartition(b"\n")
        if len(self.rest) > LONGEST_LINE:
            end, self.rest = end + self.rest, b""
        return lines + end
