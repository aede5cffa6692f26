"""What can go wrong on the way to a commit, in words for whoever wrote the task."""

from __future__ import annotations

import re

from taskrunner.errors import TaskFailed, TaskFailedInternally, Unavailable

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_MOST_QUOTED = 300
"""Characters of a server's own words: enough for a sentence, too few to flood a log."""


def clone_failed(message: str) -> TaskFailed:
    """The repository, the ref or the token is wrong, and stays so."""
    return TaskFailed("clone-failed", f"clone: {message}")


def unavailable(message: str, retry_after: float | None = None) -> Unavailable:
    """The server cannot be reached, or broke off."""
    return Unavailable(f"clone: {message}", retry_after)


def quoted(text: str | bytes) -> str:
    """What a server said, on one line and not too long."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return _CONTROL.sub(" ", text).strip()[:_MOST_QUOTED]


class Broken(TaskFailedInternally):
    """A pack, an index or an object is not what it should be. `fetch` takes care of it; after that, only a disk that
    fails can be the cause."""


class ServerRefused(Exception):
    """The server ended the conversation, and this is what it said."""


class HttpStatus(Exception):
    """The server answered with something else than 200."""

    def __init__(self, status: int, retry_after: str) -> None:
        super().__init__(status)
        self.status, self.retry_after = status, retry_after


class NotGit(Exception):
    """The server answered with a web page, or whatever it has there."""


class ProgramFailed(Exception):
    """ssh, or git on this machine, ended with an error, and this is what it wrote."""
