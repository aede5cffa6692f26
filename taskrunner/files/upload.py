"""Sending a file over HTTP, to a URL that was signed for it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial

from taskrunner.blocking import run_blocking
from taskrunner.connections import Connections
from taskrunner.errors import TaskFailed, TaskFailedInternally, Unavailable
from taskrunner.files.downloads.location import Location

CONNECT_TIME = 5.0
"""Seconds for a connection to come about."""
SILENCE = 60.0
"""Seconds for the server to take or to say something."""
PIECE = 1 << 16
"""Bytes that are read and sent at a time."""
GRACE = 2.0
"""Seconds for the thread to end after its connection was closed."""


async def upload(location: Location, file: int, size: int, headers: Mapping[str, str], *, limit: float) -> None:
    """PUTs the first `size` bytes of an open file, at most `limit` seconds. The file may grow meanwhile. `file` is its
    descriptor. A redirect is not followed: a signature is for one place. Nothing shows the query of the location.

    Raises: Unavailable (it may be tried again), TaskFailedInternally (it was refused, or urllib3 is missing).
    """
    try:
        import urllib3  # noqa: F401  tells now whether it is installed
    except ModuleNotFoundError:
        raise TaskFailedInternally("upload: urllib3 is not installed: pip install urllib3") from None
    connections = Connections()
    await run_blocking(
        partial(_put, location, file, size, headers, connections),
        limit=limit,
        doing=f"sending a file to {location.host}",
        interrupt=connections.interrupt,
        grace=GRACE,
        error=Unavailable,
    )


def _put(location: Location, file: int, size: int, headers: Mapping[str, str], connections: Connections) -> None:
    import urllib3

    from taskrunner.files.downloads.client import Client
    from taskrunner.files.downloads.network_errors import network_error

    client = Client(connections, urllib3.Timeout(connect=CONNECT_TIME, read=SILENCE), None)
    try:
        with client.put(location, _pieces(file, size), size, headers) as response:
            problem = _problem(location, response.status)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        problem = _of_network(network_error(location, error, CONNECT_TIME, SILENCE))
    finally:
        client.close()
        connections.close()
    if problem:
        raise problem  # outside of `except`: the chain of causes has the signed URL


def _pieces(file: int, size: int) -> Iterator[bytes]:
    at = 0
    while at < size and (piece := os.pread(file, min(PIECE, size - at), at)):
        yield piece
        at += len(piece)


def _problem(location: Location, status: int) -> Exception | None:
    if 200 <= status < 300:  # noqa: PLR2004  success
        return None
    text = f"upload: {location} answered with status {status}"
    passing = status in {408, 425, 429} or status >= 500  # noqa: PLR2004  errors of the server
    return Unavailable(text) if passing else TaskFailedInternally(text)


def _of_network(error: TaskFailed | Unavailable) -> Exception:
    """In the words of an upload. What a download would fail for is no fault of the task here."""
    text = str(error).replace("download:", "upload:", 1)
    return Unavailable(text) if isinstance(error, Unavailable) else TaskFailedInternally(text)
