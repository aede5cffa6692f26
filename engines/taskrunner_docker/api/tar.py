"""A path in a container as a tar stream, read as it comes. Blocking: for threads."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
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
    connections: Connections,
    work: Callable[[], T],
    discard: Callable[[T], None] | None = None,
    executor: Executor | None = None,
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
        executor=executor,
    )


def ask_for_tar(client: DockerClient, connections: Connections, container: str, path: str) -> Exchange:
    """A path of a container, which may be of any size. Whoever reads the answer must check the end of the tar: Docker
    closes the connection after it, and in the middle as well. Raises: DockerError (404: no such path), Unavailable."""
    return client.exchange(connections, "GET", f"/containers/{container}/archive", {"path": path}, chunked=False)


class _TarInput:
    """The bytes of a stream as tarfile wants them: it passes over what was not read by seeking forward."""

    def __init__(self, answer: Exchange) -> None:
        self._answer, self._at, self._last = answer, 0, b""

    @property
    def ended(self) -> bool:
        """Whether the last that was read is the block of zeros at the end of a tar."""
        return self._last == bytes(tarfile.BLOCKSIZE)

    def read(self, size: int) -> bytes:
        self._last = self._answer.read(size)
        self._at += len(self._last)
        return self._last

    def tell(self) -> int:
        return self._at

    def seek(self, position: int) -> None:
        while self._at < position and self.read(min(position - self._at, READ_SIZE)):
            pass


@attrs.frozen
class TarStream:
    """One stream, on a connection of its own. It may be closed in the middle."""

    _tar: tarfile.TarFile
    _input: _TarInput
    _answer: Exchange

    @classmethod
    def open(cls, client: DockerClient, connections: Connections, container: str, path: str) -> Self:
        """Raises: DockerError (404: no such path), Unavailable, tarfile.TarError."""
        return cls.of(ask_for_tar(client, connections, container, path))

    @classmethod
    def of(cls, answer: Exchange) -> Self:
        """The tar that an answer is, which is closed with it. Raises: Unavailable, tarfile.TarError."""
        reading = _TarInput(answer)
        try:
            return cls(tarfile.TarFile(fileobj=cast("Any", reading)), reading, answer)
        except BaseException:
            answer.close()
            raise

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        while member := self.next():
            yield member

    def next(self) -> tarfile.TarInfo | None:
        """The next member; those before, perhaps a million, are forgotten. Raises: Unavailable, TarError (also for a
        stream without its end)."""
        member = self._tar.next()
        self._tar.members.clear()  # type: ignore[attr-defined]
        if member is None and not self._input.ended:
            raise tarfile.ReadError("unexpected end of data")
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
