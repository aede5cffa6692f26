"""Log: the output of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Log(ABC):
    """The log of one run: bytes as the task wrote them, and lines of the worker's own.

    Every method may be called from any thread and returns once the bytes are safe from the death of this process.
    Secrets are masked before they are stored, also when calls cut them. After the end of the run, writes are ignored.
    """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Appends output of the task, cut anywhere and unaltered but for secrets.

        Raises: TaskFailedInternally when the disk fails.
        """

    def say(self, text: str) -> None:
        """Appends lines of the worker's own, marked: `[taskrunner] pulling busybox`. Same errors as `write`."""
        for line in text.splitlines() or [""]:
            self.write(f"[taskrunner] {line}\n".encode())

    @abstractmethod
    def mask(self, secret: str) -> None:
        """Hides this value from now on, with its base64 forms and its URL-encoded form. An empty text is ignored."""
