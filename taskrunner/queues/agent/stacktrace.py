"""The stack trace of an error of the worker itself: the first traceback among the worker's own lines of a log.

A run writes the traceback of an error that a developer has to fix into its log, where its secrets are masked. No
command writes to the stream of these lines, so none can forge one.
"""

from __future__ import annotations

from collections import deque

from taskrunner.interfaces.log import LogOrigin

OWN = "[taskrunner] "
"""How a line of the worker's own begins."""

HEADER = "Traceback (most recent call last):"

JOINTS = frozenset(
    {
        "",
        "During handling of the above exception, another exception occurred:",
        "The above exception was the direct cause of the following exception:",
    }
)
"""Lines between the tracebacks of errors that caused each other."""

MOST_LINES, LONGEST_LINE = 200, 1000
"""Lines that are kept, the last ones, and characters of each: the frames where it happened."""


class Stacktrace:
    """Finds it while the log is sent."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._in_frames, self._of_group, self._over = False, False, False

    def add(self, piece: bytes, origin: LogOrigin | None) -> None:
        """A piece of the log, cut anywhere."""
        if self._over or origin is None or origin.stream != "worker":
            return
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._take(line.decode("utf-8", "replace").removeprefix(OWN).rstrip()[:LONGEST_LINE])

    @property
    def text(self) -> str:
        """Empty when there is none."""
        return "\n".join(self._lines).rstrip()

    def _take(self, line: str) -> None:
        if line.endswith(HEADER) and not self._over:
            self._of_group = self._of_group or line != HEADER
            self._in_frames = True
        elif not self._lines or self._over:
            return
        elif line not in JOINTS and not (self._in_frames and line.startswith(" ")):
            self._over = self._of_group or not self._in_frames
            self._in_frames = False  # the line says which error it is
        if not self._over:
            self._lines.append(line)
