"""Log: the output of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path
from typing import Literal

import attrs

LogStream = Literal["stdout", "stderr", "both", "worker"]
"""Where a piece of a log came from. `both`: the engine has one pipe for stdout and stderr, and cannot tell them apart.
`worker`: lines of the worker's own."""


@attrs.frozen
class LogOrigin:
    """Where a piece of a log came from, and when."""

    stream: LogStream
    at: datetime
    """UTC, to a tenth of a second."""


class OutputMasker(ABC):
    """Masks one stream of a task's output that the engine cuts or marks itself before it writes it: a build's log has
    the number of a step before each line, and a secret on the border of two would never be found. Used by one thread at
    a time."""

    @abstractmethod
    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes, and returns what is decided, masked. An end that may be the beginning of a secret is
        held back."""

    @abstractmethod
    def flush(self) -> bytes:
        """Returns what is held back, masked: the stream has ended."""


class Log(ABC):
    """The log of one run: bytes as the task wrote them, and lines of the worker's own.

    Every method may be called from any thread and returns once the bytes are safe from the death of this process.
    Secrets are masked before they are stored, in each stream on its own, also when calls cut them. After the end of the
    run, writes are ignored. An engine that adds to the output, or cuts it, masks it first with a `new_masker`.

    A log is one sequence of bytes, in the order of the calls. Beside it, an index says when each piece came, and from
    which stream: it adds nothing to the bytes, and a log whose index is lost is whole.
    """

    @abstractmethod
    def write(self, data: bytes, stream: LogStream = "stdout") -> None:
        """Appends output of the task, cut anywhere and unaltered but for secrets.

        Raises: TaskFailedInternally when the disk fails.
        """

    def say(self, text: str) -> None:
        """Appends lines of the worker's own, marked: `[taskrunner] pulling busybox`. Same errors as `write`."""
        for line in text.splitlines() or [""]:
            self.write(f"[taskrunner] {line}\n".encode(), "worker")

    @abstractmethod
    def mask(self, secret: str) -> None:
        """Hides this value from now on, in the forms that programs print a secret in: plain, escaped for JSON, HTML, a
        URL or a shell, in hexadecimal, base64 and UTF-16. An empty text is ignored."""

    @abstractmethod
    def new_masker(self) -> OutputMasker:
        """A masker of the secrets of this log, those of later calls of `mask` too."""


def index_of(log: Path) -> Path:
    """The file of the index of a log that is in a file. There may be none."""
    return log.with_name(f"{log.name}.index")
