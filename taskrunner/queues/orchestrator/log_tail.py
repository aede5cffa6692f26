"""The end of a log: what a message holds of it."""

from __future__ import annotations

LIMIT = (4 << 20) - (128 << 10)
"""Bytes. By default gRPC takes 4 MiB as a message, and the rest of this one has a part of that."""

MARK = "[taskrunner] the begin of this log is left out: a message does not hold all of it\n"

LONGEST_LINE = 64 << 10
"""Bytes of a line that is left out when it is cut."""


class LogTail:
    """Keeps the last `limit` bytes, and at most twice as many for a while."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._cut = False

    def add(self, chunk: bytes) -> None:
        self._kept += chunk
        if len(self._kept) > 2 * self._limit:
            del self._kept[: -self._limit]
            self._cut = True

    def text(self) -> str:
        """What is kept, with a mark in front if that is not all. Bytes that are no UTF-8 are replaced: a text of
        protobuf has none."""
        data = self._kept.decode("utf-8", "replace").encode()
        if not self._cut and len(data) <= self._limit:
            return data.decode()
        return MARK + _whole_lines(data[-(self._limit - len(MARK)) :]).decode("utf-8", "ignore")


def _whole_lines(data: bytes) -> bytes:
    """Without the first line, of which a part is missing, unless that is long."""
    return data[data.find(b"\n", 0, LONGEST_LINE) + 1 :]
