"""Log: the output of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

LogStream = Literal["stdout", "stderr", "both", "worker"]
"""Where a piece of a log came from. `both`: the engine has one pipe for stdout and stderr, and cannot tell them apart.
`worker`: lines of the worker's own."""


class Log(ABC):
    """The log of one run: bytes as the task wrote them, and lines of the worker's own.

    Every method may be called from any thread and returns once the bytes are safe from the death of this process.
    Secrets are masked before they are stored, in each stream on its own, also when calls cut them. After the end of the
    run, writes are ignored.

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
        """Hides this value from now on, with its base64 forms and its URL-encoded form. An empty text is ignored."""


def index_of(log: Path) -> Path:
    """The file of the index of a log that is in a file. There may be none."""
    return log.with_name(f"{log.name}.index")
