"""The failures of a fetch, in words for the author of the task."""

from __future__ import annotations

import re

from taskrunner.errors import TaskFailed, TaskFailedInternally, Unavailable
from taskrunner.interfaces.source import SourceLimits

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_MAX_QUOTED = 300
"""Characters of a server's own words: enough for a sentence, too few to flood a log."""


def clone_failed(message: str) -> TaskFailed:
    """The repository, the ref or the token is wrong: trying again does not help."""
    return TaskFailed("clone-failed", f"clone: {message}")


def unavailable(message: str, retry_after: float | None = None) -> Unavailable:
    """The server cannot be reached, or ended the connection."""
    return Unavailable(f"clone: {message}", retry_after)


_UNITS = {
    "refs": "lines",
    "files": "files and folders",
    "submodules": "submodules",
}
"""Of the limits that count something; the others are bytes."""


def too_much(what: str, setting: str, limits: SourceLimits) -> TaskFailed:
    """`what` is over the limit of the configuration that has this name."""
    limit = getattr(limits, setting)
    size = f"{limit} {_UNITS[setting]}" if setting in _UNITS else f"{limit} bytes"
    return clone_failed(
        f"{what} has more than {size}; the worker's configuration sets this limit: `{setting}` in [source.limits]"
    )


def stalled(limits: SourceLimits) -> Unavailable:
    """The server stays connected, and sends nothing that is needed."""
    return unavailable(
        f"the server has sent nothing that is needed for {limits.stall_time:g} s; the worker's configuration sets this "
        "limit: `stall_time` in [source.limits]"
    )


def quoted(text: str | bytes) -> str:
    """A server's own words, or a name in a repository, as text on one line and shortened."""
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogateescape")
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
