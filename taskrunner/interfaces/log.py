"""Log: where everything goes that a run says."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Log(ABC):
    """The log of one run: bytes as the task wrote them, and lines of the worker's own.

    Every method may be called from any thread and returns once the bytes are safe from the death of this process.
    Secrets are masked on the way in, also across the borders of calls. After the end of the run, writes go nowhere.
    """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Output of the task, cut anywhere; never altered but for secrets.

        Raises: TaskFailedInternally when the disk does not take it.
        """

    def say(self, text: str) -> None:
        """One line of the worker's own, marked as such: `[taskrunner] pulling busybox`. Same errors as `write`."""
        for line in text.splitlines() or [""]:
            self.write(f"[taskrunner] {line}\n".encode())

    @abstractmethod
    def mask(self, secret: str) -> None:
        """From now on, hides this value, its base64 forms and its URL-encoded form. An empty text is ignored."""
