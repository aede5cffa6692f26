"""The log of a run as messages: a line each, with its newline and a level.

A run that writes faster than its messages are taken is far behind; then a message has many lines, and ends anywhere.
What ends without a newline, such as a question to the user, is sent as it is, and the rest of its line follows.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from taskrunner.interfaces.log import LogOrigin, LogStream
from taskrunner.queues.agent.messages import Level, log_message

LEVELS: dict[LogStream, Level] = {
    "stdout": Level.INFO,
    "both": Level.INFO,
    "stderr": Level.ERROR,
    "worker": Level.DEBUG,
}
"""What a command writes to stderr is shown as an error, as logging services do. Lines of the worker's own, such as that
it fetches the source, are for who looks into a problem."""

WORKER_LINE = b"[taskrunner] "
"""How a line of the worker's own begins. As long as a log has no other lines, nothing else says where they came from.
"""

BEHIND = 4 << 10
"""Bytes from which on a piece is one message, wherever it ends: more than a person reads at once. A message costs
as much as 10 kB of it."""

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")


class LogMessages:
    """Makes messages of the pieces of one log. Bytes that are no UTF-8 are replaced: a text of protobuf has none."""

    def __init__(self) -> None:
        self._decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in LEVELS}

    def messages(self, piece: bytes, origin: LogOrigin | None) -> Iterator[bytes]:
        """A piece may begin and end within a character, the rest of which is in another piece of its stream."""
        stream, at = (origin.stream, origin.at) if origin else ("both", datetime.now(UTC))
        text, timestamp = self._text(piece, stream), int(at.timestamp())
        for part in [text] if len(text) > BEHIND else _LINE.findall(text):
            level = Level.DEBUG if origin is None and part.startswith(WORKER_LINE) else LEVELS[stream]
            yield log_message(part, level, timestamp)

    def rest(self) -> Iterator[bytes]:
        """What is left of characters that never ended: the log is over."""
        for stream, decoder in self._decoders.items():
            if text := decoder.decode(b"", final=True):
                yield log_message(text.encode(), LEVELS[stream], int(datetime.now(UTC).timestamp()))

    def _text(self, piece: bytes, stream: LogStream) -> bytes:
        """UTF-8. Most of a log is ASCII, which is UTF-8 as it is."""
        decoder = self._decoders[stream]
        begun, _ = decoder.getstate()
        return piece if piece.isascii() and not begun else decoder.decode(piece).encode()
