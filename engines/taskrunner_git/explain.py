"""Error mapping: from the errors of dulwich, urllib3 and git servers to those of taskrunner."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator

import urllib3.exceptions
from dulwich.errors import GitProtocolError, HangupException, NotGitRepository

from taskrunner.errors import (
    MachineFault,
    TaskFailed,
    TaskFailedInternally,
    TaskrunnerError,
    Unavailable,
    local_failure,
)
from taskrunner_git.failures import (
    Broken,
    DumbHttp,
    HttpStatus,
    NotGit,
    ProgramFailed,
    ServerRefused,
    clone_failed,
    quoted,
    unavailable,
)
from taskrunner_git.protocol.timeouts import CONNECT_TIMEOUT, READ_TIMEOUT
from taskrunner_git.remote import Remote

_NO_REPOSITORY = re.compile(
    r"not appear to be a git repo|not exported|no such repo|not found|not a git repo", re.IGNORECASE
)
_NO_OBJECT = re.compile(r"not our ref|unadvertised object|no such ref", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"could not resolve|connection (refused|reset|closed|timed out)|no route|unreachable", re.IGNORECASE
)
_UNKNOWN_AUTHORITY = range(18, 22)
"""OpenSSL's codes for a chain whose end is not known here."""
_CA_HINT = (
    "; the authority that signed it can be named by `ca_file` in [source] of the worker's configuration, or by "
    "SSL_CERT_FILE"
)
_REFUSED, _GONE, _TOO_MANY, _SERVER_ERROR = {401, 403}, {404, 410}, 429, 500

_NETWORK_ERRORS: list[tuple[type[BaseException] | tuple[type[BaseException], ...], str]] = [
    (
        (socket.gaierror, urllib3.exceptions.NameResolutionError),
        "is not known to the name service: is the address right?",
    ),
    (ConnectionRefusedError, "refused the connection: is the address right, and does the server run?"),
    (urllib3.exceptions.ConnectTimeoutError, f"did not answer within {CONNECT_TIMEOUT:.0f} s"),
    ((TimeoutError, urllib3.exceptions.ReadTimeoutError), f"was silent for {READ_TIMEOUT:.0f} s"),
    ((ConnectionError, urllib3.exceptions.HTTPError), "broke off the connection"),
]
"""The first match counts. Any other error of HTTP is an answer that was cut short."""


def explain(error: Exception, remote: Remote, ref: str, stderr: str = "") -> TaskrunnerError:
    """The error that the task ends with. It has no cause, since causes may show credentials. `stderr` is what ssh or
    the local git wrote."""
    match error:
        case HttpStatus():
            return _status(error, remote)
        case NotGit() | NotGitRepository():
            return clone_failed(f"{remote} is no git repository: the server has something else there")
        case DumbHttp() | Broken() | ProgramFailed():
            return clone_failed(f"{remote}: {error}")
        case TaskFailed() | Unavailable() | TaskFailedInternally():
            return _copied(error)
    if cause := next(_network_errors(error), None):
        return _network_failure(cause, remote)
    return _server(error, remote, ref, stderr)


def _copied(error: TaskFailed | Unavailable | TaskFailedInternally) -> TaskrunnerError:
    """The same error without its frames and causes."""
    if isinstance(error, TaskFailed):
        return TaskFailed(error.reason, error.message)
    if isinstance(error, MachineFault):
        return MachineFault(error.message, error.folder)
    if isinstance(error, TaskFailedInternally):
        return TaskFailedInternally(str(error))
    return Unavailable(error.message, error.retry_after)


def internal(error: OSError, remote: Remote) -> TaskFailedInternally:
    """The error for the disk of this machine."""
    why = error.strerror or type(error).__name__
    return local_failure(f"clone: the mirror of {remote} cannot be read or written: {why}", error)


def _status(error: HttpStatus, remote: Remote) -> TaskrunnerError:
    if error.status in _REFUSED:
        what = "refused the token: is it expired, and may it read this repository?"
        return clone_failed(f"{remote} {what if remote.password else 'needs a token, and none was given'}")
    if error.status in _GONE:
        hint = "" if remote.password else ", or it is private and needs a token"
        return clone_failed(f"{remote} was not found{hint or ', or the token may not see it'}")
    if error.status == _TOO_MANY or error.status >= _SERVER_ERROR:
        wait = float(error.retry_after) if error.retry_after.isdecimal() else None
        return unavailable(f"{remote} answered with status {error.status}", wait)
    return clone_failed(f"{remote} answered with status {error.status}")


def _network_errors(error: BaseException | None) -> Iterator[BaseException]:
    """The errors of the network among an error and its causes, the innermost first."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        inner = (getattr(error, "reason", None), *error.args[:1])
        error = next((link for link in inner if isinstance(link, BaseException)), error.__cause__)
    return (link for link in reversed(chain) if isinstance(link, (OSError, urllib3.exceptions.HTTPError)))


def _network_failure(cause: BaseException, remote: Remote) -> TaskrunnerError:
    where = remote.netloc or str(remote)
    if isinstance(cause, ssl.SSLCertVerificationError):  # stays so until someone acts, unlike other errors
        hint = _CA_HINT if cause.verify_code in _UNKNOWN_AUTHORITY else ""
        return clone_failed(f"the certificate of {where} is not trusted: {quoted(cause.verify_message)}{hint}")
    return unavailable(f"{where} {_network(cause)}")


def _network(error: BaseException) -> str:
    known = next((text for kinds, text in _NETWORK_ERRORS if isinstance(error, kinds)), None)
    if isinstance(error, ssl.SSLError):
        return f"has trouble with TLS: {quoted(getattr(error, 'verify_message', '') or str(error.reason))}"
    return known or f"cannot be reached: {quoted(getattr(error, 'strerror', '') or type(error).__name__)}"


def _server(error: Exception, remote: Remote, ref: str, stderr: str) -> TaskrunnerError:
    """The error for a message of the server, whose words differ from one server to the next."""
    text = stderr or (str(error) if isinstance(error, (GitProtocolError, ServerRefused)) else "")
    if _UNREACHABLE.search(stderr):
        return unavailable(f"{remote} cannot be reached: {quoted(stderr)}")
    if not stderr and (isinstance(error, HangupException) or text.startswith("Length of pkt")):
        return unavailable(f"{remote} broke off the connection")
    if _NO_OBJECT.search(text):
        return clone_failed(f'{remote} has no commit "{ref}", or does not give it out')
    if _NO_REPOSITORY.search(text):
        return clone_failed(f"{remote} was not found, or is no git repository: {quoted(text)}")
    return clone_failed(f"{remote} refused: {quoted(text) or 'it speaks no git protocol that is understood here'}")
