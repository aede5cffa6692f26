"""The failures of a fetch, in words for the author of the task."""

from __future__ import annotations

import re

from taskrunner.errors import TaskFailed, TaskFailedInternally, Unavailable

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_MAX_QUOTED = 300
"""Characters of a server's own words: enough for a sentence, too few to flood a log."""


def clone_failed(message: str) -> TaskFailed:
    """The repository, the ref or the token is wrong: trying again does not help."""
    return TaskFailed("clone-failed", f"clone: {message}")


def unavailable(message: str, retry_after: float | None = None) -> Unavailable:
    """The server cannot be reached, or ended the connection."""
    return Unavailable(f"clone: {message}", retry_after)


def quoted(text: str | bytes) -> str:
    """A server's own words, on one line and shortened."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return _CONTROL.sub(" ", text).strip()[:_MAX_QUOTED]


class Broken(TaskFailedInternally):
    """A pack, an index or an object is corrupt. `fetch` starts such a mirror anew; after it, only a disk that fails can
    be the cause."""


class ServerRefused(Exception):
    """The server ended the conversation with an error packet, whose text this is."""


class HttpStatus(Exception):
    """The server answered with another status than 200."""

    def __init__(self, status: int, retry_after: str) -> None:
        super().__init__(status)
        self.status, self.retry_after = status, retry_after


class NotGit(Exception):
    """The server answered with something else than git's protocol, for instance a web page."""


class DumbHttp(Exception):
    """The server gives out the repository's files, and does not speak git's protocol."""

    def __init__(self) -> None:
        super().__init__(
            "the server gives out plain files (dumb HTTP), which is not supported: it must speak git's own protocol, "
            "for instance by `git http-backend`"
        )


class ProgramFailed(Exception):
    """ssh or git could not be started on this machine."""
