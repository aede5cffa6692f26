"""From what a library or a server threw at us, to what its user is told."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator

import urllib3.exceptions
from dulwich.errors import GitProtocolError, HangupException, NotGitRepository

from taskrunner.errors import TaskFailed, TaskFailedInternally, TaskrunnerError, Unavailable
from taskrunner_git.failures import (
    Broken,
    HttpStatus,
    NotGit,
    ProgramFailed,
    ServerRefused,
    clone_failed,
    quoted,
    unavailable,
)
from taskrunner_git.protocol.timeouts import CONNECT_TIMEOUT, SILENCE
from taskrunner_git.remote import Remote

_NO_REPOSITORY = re.compile(
    r"not appear to be a git repo|not exported|no such repo|not found|not a git repo", re.IGNORECASE
)
_NO_OBJECT = re.compile(r"not our ref|unadvertised object|no such ref", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"could not resolve|connection (refused|reset|closed|timed out)|no route|unreachable", re.IGNORECASE
)
_REFUSED, _GONE, _TOO_MANY, _SERVER_TROUBLE = {401, 403}, {404, 410}, 429, 500

_TROUBLES: list[tuple[type[BaseException] | tuple[type[BaseException], ...], str]] = [
    (
        (socket.gaierror, urllib3.exceptions.NameResolutionError),
        "is not known to the name service: is the address right?",
    ),
    (ConnectionRefusedError, "refused the connection: is the address right, and does the server run?"),
    (urllib3.exceptions.ConnectTimeoutError, f"did not answer within {CONNECT_TIMEOUT:.0f} s"),
    ((TimeoutError, urllib3.exceptions.ReadTimeoutError), f"was silent for {SILENCE:.0f} s"),
    ((ConnectionError, urllib3.exceptions.HTTPError), "broke off the connection"),
]
"""The first that fits; anything of HTTP's that is none of those before is an answer that was cut short."""


def explain(error: Exception, remote: Remote, ref: str, said: str = "") -> TaskrunnerError:
    """A new error, chained to nothing, for whatever went wrong with a repository. `said` is what a program at the
    other end wrote on its standard error."""
    match error:
        case TaskFailed() | Unavailable():
            return copied(error)
        case HttpStatus():
            return _status(error, remote)
        case NotGit() | NotGitRepository():
            return clone_failed(f"{remote} is no git repository: the server has something else there")
        case Broken() | ProgramFailed():
            return clone_failed(f"{remote}: {error}")
    if trouble := next(_troubles(error), None):
        return unavailable(f"{remote.netloc or remote} {_network(trouble)}")
    return _server(error, remote, ref, said)


def copied(error: TaskFailed | Unavailable) -> TaskrunnerError:
    """The same error without the frames and causes that it drags along."""
    if isinstance(error, TaskFailed):
        return TaskFailed(error.reason, error.message)
    return Unavailable(error.message, error.retry_after)


def internal(error: OSError, remote: Remote) -> TaskFailedInternally:
    """This machine's disk, not the server."""
    why = error.strerror or type(error).__name__
    return TaskFailedInternally(f"clone: the mirror of {remote} cannot be read or written: {why}")


def _status(error: HttpStatus, remote: Remote) -> TaskrunnerError:
    if error.status in _REFUSED:
        what = "refused the token: is it expired, and may it read this repository?"
        return clone_failed(f"{remote} {what if remote.password else 'needs a token, and none was given'}")
    if error.status in _GONE:
        hint = "" if remote.password else ", or it is private and needs a token"
        return clone_failed(f"{remote} was not found{hint or ', or the token may not see it'}")
    if error.status == _TOO_MANY or error.status >= _SERVER_TROUBLE:
        wait = float(error.retry_after) if error.retry_after.isdecimal() else None
        return unavailable(f"{remote} answered with status {error.status}", wait)
    return clone_failed(f"{remote} answered with status {error.status}")


def _troubles(error: BaseException | None) -> Iterator[BaseException]:
    """The network's own errors among those that led to this one, the first one first."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        inner = (getattr(error, "reason", None), *error.args[:1])
        error = next((link for link in inner if isinstance(link, BaseException)), error.__cause__)
    return (link for link in reversed(chain) if isinstance(link, (OSError, urllib3.exceptions.HTTPError)))


def _network(error: BaseException) -> str:
    known = next((text for kinds, text in _TROUBLES if isinstance(error, kinds)), None)
    if isinstance(error, ssl.SSLError):
        return f"has trouble with TLS: {quoted(getattr(error, 'verify_message', '') or str(error.reason))}"
    return known or f"cannot be reached: {quoted(getattr(error, 'strerror', '') or type(error).__name__)}"


def _server(error: Exception, remote: Remote, ref: str, said: str) -> TaskrunnerError:
    """What the other end told in its own words, which differ from one server to the next."""
    text = said or (str(error) if isinstance(error, (GitProtocolError, ServerRefused)) else "")
    if _UNREACHABLE.search(said):
        return unavailable(f"{remote} cannot be reached: {quoted(said)}")
    if not said and (isinstance(error, HangupException) or text.startswith("Length of pkt")):
        return unavailable(f"{remote} broke off the connection")
    if _NO_OBJECT.search(text):
        return clone_failed(f'{remote} has no commit "{ref}", or does not give it out')
    if _NO_REPOSITORY.search(text):
        return clone_failed(f"{remote} was not found, or is no git repository: {quoted(text)}")
    return clone_failed(f"{remote} refused: {quoted(text) or 'it speaks no git protocol that is understood here'}")
