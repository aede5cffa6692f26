"""What can go wrong with Docker, and the one reader of its refusals."""

from __future__ import annotations

import json
import re

from taskrunner.errors import RunLost, Unavailable

MAX_ERROR = 1 << 16
"""Bytes that are read of a refusal."""


class DockerError(Exception):
    """Docker refused a request. `status` is HTTP's: 404 for what is not there, 409 for what cannot be done now."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status, self.message = status, message

    def __str__(self) -> str:
        return self.message


class DockerUnavailable(Unavailable):
    """Docker itself does not answer, whatever it was asked for. A registry that does not is Unavailable."""


def read_refusal(status: int, body: bytes) -> DockerError:
    """The error of an answer whose status is not a good one: its message, or the body as it is."""
    try:
        text = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace")
    return DockerError(status, text.strip() or "no reason given")


_LINK_LOOP = re.compile(r"too many (?:levels of symbolic )?links", re.IGNORECASE)


def is_link_loop(error: DockerError) -> bool:
    """Whether a path in a container leads in a circle. Docker gives it the status of a fault of its own."""
    return bool(_LINK_LOOP.search(error.message))


_WRONG_PATH = re.compile("not a directory|file name too long")


def is_wrong_path(error: DockerError) -> bool:
    """Whether a path in a container leads through a file, or has a name that no file can have. Docker gives that the
    status of a fault of its own, too."""
    return bool(_WRONG_PATH.search(error.message))


def unreachable(socket: str, error: Exception) -> DockerUnavailable:
    """Why there is no connection to Docker, and what to do."""
    text = str(error)
    if isinstance(error, PermissionError) or "Permission denied" in text:
        why = f"no permission for Docker's socket {socket}: add this user to the group docker, and log in again"
        return DockerUnavailable(why)
    gone = isinstance(error, FileNotFoundError | ConnectionRefusedError)
    why = "nothing listens there" if gone or "refused" in text or "No such file" in text else text
    return DockerUnavailable(
        f"Docker does not answer at {socket} ({why}): start it, or name its socket as `host` in [docker]"
    )


def no_answer(socket: str, limit: float) -> DockerUnavailable:
    """Docker took longer than it may."""
    return DockerUnavailable(f"Docker has not answered within {limit:g} seconds ({socket})")


def broken(error: Exception) -> RunLost:
    """The connection ended in the middle of an answer: what Docker did for the run has ended with it."""
    return RunLost(f"the connection to Docker broke: {error}")
