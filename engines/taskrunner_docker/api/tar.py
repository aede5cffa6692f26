"""A path in a container as a tar stream, read as it comes. Blocking: for threads."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar, cast

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.connections import Connections
from taskrunner.interfaces.results import READ_SIZE
from taskrunner_docker.api.client import END_TIMEOUT, DockerClient
from taskrunner_docker.api.exchange import Exchange

T = TypeVar("T")


READ_LIMIT = 3600.0
"""Seconds of one step, which may pass over a large file: as long as an upload may take. Silence ends much earlier."""


async def read_in_thread(
    connections: Connections, work: Callable[[], T], discard: Callable[[T], None] | None = None
) -> T:
    """Runs one step of reading, which ends with the connections when it is cancelled. Raises what `work` raises, and
    OverLimit."""
    return await run_blocking(
        work,
        limit=READ_LIMIT,
        doing="reading files of a container",
        interrupt=connections.interrupt,
        grace=END_TIMEOUT,
        discard=discard,
    )


@attrs.frozen
class TarStream:
    """One stream, on a connection of its own. It may be closed in the middle."""

    _tar: tarfile.TarFile
    _answer: Exchange

    @classmethod
    def open(cls, client: DockerClient, connections: Connections, container: str, path: str) -> Self:
        """Raises: DockerError (404: no such path), Unavailable, tarfile.TarError."""
        answer = client.exchange(connections, "GET", f"/containers/{container}/archive", {"path": path})
        try:
            return cls(tarfile.open(fileobj=cast("Any", answer), mode="r|", bufsize=READ_SIZE), answer)
        except BaseException:
            answer.close()
            raise

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        while member := self.next():
            yield member

    def next(self) -> tarfile.TarInfo | None:
        """The next member; those before, perhaps a million, are forgotten. Raises: Unavailable, TarError."""
        member = self._tar.next()
        self._tar.members.clear()  # type: ignore[attr-defined]
        return member

    def extract(self, member: tarfile.TarInfo) -> tarfile.ExFileObject:
        """The contents of the file that was returned last."""
        return cast("tarfile.ExFileObject", self._tar.extractfile(member))

    def close(self) -> None:
        """Closes the connection. May be called again."""
        self._answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
