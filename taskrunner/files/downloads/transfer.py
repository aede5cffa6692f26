"""What has arrived of a file, over all attempts to download it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from taskrunner.connections import Connections
from taskrunner.errors import TaskFailedInternally, local_failure
from taskrunner.files.downloads.location import Location, download_failed
from taskrunner.files.downloads.network_errors import status_error, unavailable
from taskrunner.model import Progress

if TYPE_CHECKING:
    import urllib3

PIECE = 1 << 16
"""Bytes that are read and written at a time. A read waits for all of them, and what has come of a piece is lost when
the connection breaks."""
_OK, _PARTIAL, _NO_SUCH_RANGE = 200, 206, 416
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")


@attrs.define
class Transfer:
    """Used by one attempt at a time, each in a thread."""

    target: Path
    sha256: str
    most: int
    """Bytes that the file may have."""
    progress: Callable[[Progress], None]
    size: int = 0
    total: int | None = None
    """Bytes of the whole file, when the server says so."""
    resumed: bool = False
    """Whether the parts came with several answers, which may have been of several versions of the file."""
    _validator: str = ""
    """The version of the file that has arrived in part."""
    _hash: hashlib._Hash = attrs.field(factory=hashlib.sha256)

    def headers(self) -> dict[str, str]:
        """What asks for the part that is missing."""
        if not self.size or not self.sha256:
            return {}  # without a checksum nothing shows whether two parts are of one file
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": self._validator} if self._validator else {})

    def receive(self, response: urllib3.BaseHTTPResponse, location: Location, connections: Connections) -> None:
        """Writes what one answer has. Raises: TaskFailed, TaskFailedInternally, Unavailable, Interrupted, and what
        urllib3 raises."""
        self._begin(response, location)
        if self.total is not None and self.total > self.most:
            raise self._too_large(location)
        with self._open() as file:
            for piece in response.stream(PIECE, decode_content=False):
                connections.check()
                if self.size + len(piece) > self.most:
                    raise self._too_large(location)
                file(piece)
                self._hash.update(piece)
                self.size += len(piece)
                self.progress(Progress("download", self.size, self.total))

    @property
    def complete(self) -> bool:
        """Whether the file has its checksum. It may have, although the connection broke at the end."""
        return self._hash.hexdigest() == self.sha256.lower()

    def check(self, location: Location, *, ended_by_length: bool) -> None:
        """Called after an answer that came to its end. A wrong checksum is final when the server said how much there
        is, and has sent it in one answer; else the file starts again.

        Raises: TaskFailed, Unavailable.
        """
        if self.complete:
            return
        if not self.sha256:
            self._check_length(location, ended_by_length=ended_by_length)
            return
        found, resumed = self._hash.hexdigest(), self.resumed
        self.restart()
        if resumed or not ended_by_length:
            raise unavailable(f"{location} came in parts that do not fit together")
        raise download_failed(f"{location} has the sha256 {found}, and not {self.sha256.lower()}")

    def _check_length(self, location: Location, *, ended_by_length: bool) -> None:
        if not ended_by_length:
            raise download_failed(
                f"{location} does not say where the file ends, so that a part could be taken for all of it: give sha256"
            )

    def restart(self) -> None:
        """Forgets what has arrived."""
        self.size, self.total, self.resumed, self._validator, self._hash = 0, None, False, "", hashlib.sha256()

    def _begin(self, response: urllib3.BaseHTTPResponse, location: Location) -> None:
        if response.status == _OK:
            self.restart()
            self.total = _length(response)
        elif response.status == _PARTIAL and self.size:
            found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if not found or int(found[1]) != self.size:
                self.restart()
                raise unavailable(f"{location} answered with another part than was asked for")
            self.resumed = True
            self.total = None if found[2] == "*" else int(found[2])
        elif response.status == _NO_SUCH_RANGE and self.size:
            self.restart()
            raise unavailable(f"{location} has become shorter")
        else:
            raise status_error(location, response)
        etag = response.headers.get("ETag", "")
        self._validator = response.headers.get("Last-Modified", "") if etag.startswith("W/") or not etag else etag

    @contextmanager
    def _open(self) -> Iterator[Callable[[bytes], None]]:
        """A function that appends to what has arrived."""
        file = -1
        try:
            file = os.open(self.target, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.ftruncate(file, self.size)
            os.lseek(file, self.size, os.SEEK_SET)
        except OSError as error:
            raise self._disk(error) from None
        else:
            yield lambda data: self._write(file, data)
        finally:
            if file >= 0:
                os.close(file)

    def _write(self, file: int, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(file, view) :]
        except OSError as error:
            raise self._disk(error) from None

    def _disk(self, error: OSError) -> TaskFailedInternally:
        return local_failure(f"download: the file cannot be written here: {error.strerror}", error)

    def _too_large(self, location: Location) -> Exception:
        return download_failed(f"{location} is larger than {self.most} bytes")


def _length(response: urllib3.BaseHTTPResponse) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
