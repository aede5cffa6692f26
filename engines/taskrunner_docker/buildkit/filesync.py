"""The context, as BuildKit asks for it: `moby.filesync.v1.FileSync/DiffCopy`.

The worker sends the list of files. The daemon compares size and time with its copy, and requests those that differ.
Packets:
https://github.com/tonistiigi/fsutil/blob/master/types/wire.proto and stat.proto.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import unquote_plus

from taskrunner.errors import TaskFailedInternally, local_failure
from taskrunner_docker.buildkit.grpc import NOT_FOUND, GrpcError, Headers, frame, frame_head
from taskrunner_docker.buildkit.protobuf import (
    WireError,
    as_int,
    encode_field,
    encode_varint,
    read_message,
    read_varint,
)
from taskrunner_docker.context.ignore import Ignore
from taskrunner_docker.context.ignore_20_10 import Ignore20
from taskrunner_docker.context.selection import select_entries
from taskrunner_git import FileEntry, FileTree

DIFF_COPY = "/moby.filesync.v1.FileSync/DiffCopy"
NAMES = frozenset({"context", "dockerfile"})
"""The Dockerfile frontend's names of the two folders that it reads. Here both are the root of the context."""
STAT, REQUEST, DATA, FINISH, ERROR = range(5)
MAX_DATA = 1 << 18  # bytes in a packet: far below the 4 MiB that gRPC takes, and few enough packets
BATCH = 1 << 16  # bytes that are made at once: many packets for one write, and a millisecond or two
_SPECIAL = frozenset("*?[\\")
GO_DIR, GO_LINK, GO_SETUID, GO_SETGID, GO_STICKY = 1 << 31, 1 << 27, 1 << 23, 1 << 22, 1 << 20
"""Go's `os.FileMode` bits: https://pkg.go.dev/io/fs#FileMode."""
_DATA_FIELD = encode_field(1, DATA)
_REQUEST_START = encode_field(1, REQUEST) + b"\x18"
"""The packet's type, and the key of the file's number: there is one such packet for each file."""
_PACKET = {1: ("type", as_int), 3: ("id", as_int)}
_END_OF_LIST_MARK = frame(b"")
"""An empty STAT packet."""


class ContextFiles:
    """Serves a context. Its list of files is made once, and kept: a build requests parts of it three times."""

    def __init__(self, source: FileTree, rules: type[Ignore | Ignore20] = Ignore) -> None:
        """`rules` are those of the daemon for `.dockerignore`."""
        self._source, self._rules = source, rules
        self._entries: list[FileEntry] | None = None
        self._places: dict[str, int] = {}
        """Path to its place among the entries."""
        self.sent_bytes = 0
        """Bytes of contents that were requested and sent."""

    def open(self, headers: Headers) -> FileTransfer:
        """Begins a transfer. Raises: GrpcError (a folder other than the context, or a bad pattern)."""
        names = read_option(headers, "dir-name")
        if not names or names[-1] not in NAMES:
            raise GrpcError(NOT_FOUND, "there is no such folder in this build")
        exclude, follow = read_option(headers, "exclude-patterns"), read_option(headers, "followpaths")
        entries = self.entries()
        if not exclude and (exact := self._exactly(follow)) is not None:
            return FileTransfer(self, exact)
        try:
            return FileTransfer(self, select_entries(entries, exclude, follow, self._rules))
        except ValueError as error:
            raise GrpcError(NOT_FOUND, f".dockerignore: {error}") from error

    @property
    def count(self) -> int | None:
        """Entries of the list; None while it is not made."""
        return None if self._entries is None else len(self._entries)

    def entries(self) -> list[FileEntry]:
        """Raises TaskFailedInternally."""
        if self._entries is None:
            try:
                self._entries = list(self._source.entries())
            except OSError as error:
                raise _unreadable(error) from error
            self._places = {entry.path: place for place, entry in enumerate(self._entries)}
        return self._entries

    def _exactly(self, follow: Sequence[str]) -> list[FileEntry] | None:
        """The entries of a few plain files, found without a walk through all: a Dockerfile is requested like this.
        None where that is not enough: no paths, wildcards, links and folders."""
        entries, wanted = self.entries(), set[int]()
        for path in follow:
            parts = PurePosixPath(path.lstrip("/"))
            found = [self._places[str(part)] for part in (parts, *parts.parents) if str(part) in self._places]
            plain = not _SPECIAL.intersection(path) and not any(stat.S_ISLNK(entries[place].mode) for place in found)
            if not plain or (str(parts) in self._places and not stat.S_ISREG(entries[found[0]].mode)):
                return None
            wanted.update(found)
        return [entries[place] for place in sorted(wanted)] if follow else None

    def packets(self, path: str, head: bytes) -> Iterator[bytearray]:
        """The contents of a file, framed, and the packet that ends them; of most files in one piece. `head` is the
        begin of each packet. Raises TaskFailedInternally."""
        packets = bytearray()
        try:
            for piece in self._source.read(path):
                self.sent_bytes += len(piece)
                for at in range(0, len(piece), MAX_DATA):
                    part = piece[at : at + MAX_DATA]
                    start = b"%b\x22%b" % (head, encode_varint(len(part)))
                    packets += frame_head(len(start) + len(part)) + start + part
                    if len(packets) >= BATCH:
                        yield packets
                        packets = bytearray()
        except OSError as error:
            raise _unreadable(error) from error
        packets += frame(head)
        yield packets


def _unreadable(error: OSError) -> TaskFailedInternally:
    """A fault of the source, not of the connection."""
    return local_failure(f"the build context cannot be read: {error}", error)


class FileTransfer:
    """One call: first the list, then each requested file, until the daemon reports that it has everything."""

    def __init__(self, files: ContextFiles, entries: Iterable[FileEntry]) -> None:
        self._files = files
        self._paths: list[str | None] = []
        """By number in the list; None for an entry without contents."""
        self._requests: deque[int] = deque()
        self._packets: Iterator[bytes | bytearray] = self._send(entries)
        self.finished = False

    def receive(self, message: memoryview) -> None:
        if (number := _requested(message)) is not None:
            self._request(number)
            return
        packet = read_message(message, _PACKET)
        kind = packet.get("type", [STAT])[-1]
        if kind == REQUEST:
            self._request(packet.get("id", [0])[-1])
        elif kind == FINISH:
            self._packets = iter([frame(encode_field(1, FINISH))])
            self.finished = True
        elif kind == ERROR:
            self.close()

    def close(self) -> None:
        """Ends the transfer. An answer to FINISH that waits is still sent."""
        if not self.finished:
            self._packets, self.finished = iter(()), True

    def pull(self) -> bytearray:
        batch = bytearray()
        for packet in self._packets:
            batch += packet
            if not packet or len(batch) >= BATCH:
                break
        return batch

    def _request(self, number: int) -> None:
        """Queues a file that the daemon requests. It requests each at most once, so that the list bounds the queue."""
        if not 0 <= number < len(self._paths) or self._paths[number] is None or len(self._requests) >= len(self._paths):
            raise WireError("the daemon requests a file that is not in the context")
        self._requests.append(number)

    def _send(self, entries: Iterable[FileEntry]) -> Iterator[bytes | bytearray]:
        """All packets; an empty one while no request waits."""
        for entry in entries:
            self._paths.append(entry.path if stat.S_ISREG(entry.mode) else None)
            yield stat_packet(entry)
            while self._requests:
                yield from self._contents(self._requests.popleft())
        yield _END_OF_LIST_MARK
        while True:
            if self._requests:
                yield from self._contents(self._requests.popleft())
            else:
                yield b""

    def _contents(self, number: int) -> Iterator[bytearray]:
        head = _DATA_FIELD + (encode_field(3, number) if number else b"")
        return self._files.packets(self._paths[number] or "", head)


def _requested(message: memoryview) -> int | None:
    """The number of the file that this packet requests; None for any other packet, and for one with more in it."""
    if message[: len(_REQUEST_START)] != _REQUEST_START:
        return None
    number, end = read_varint(message, len(_REQUEST_START))
    return number if end == len(message) else None


def stat_packet(entry: FileEntry) -> bytes:
    """One line of the list. Owner and group are left out: they are root's, as with the docker CLI."""
    path = entry.path.encode("utf-8", "surrogateescape")
    parts = [b"\x0a", encode_varint(len(path)), path, _mode_field(entry.mode)]
    if entry.size and stat.S_ISREG(entry.mode):
        parts += (b"\x28", encode_varint(entry.size))
    parts.append(_time_field(entry.mtime_ns))
    if entry.link:
        parts.append(encode_field(7, entry.link))
    return frame(encode_field(2, b"".join(parts)))


@lru_cache(maxsize=256)
def _time_field(nanoseconds: int) -> bytes:
    """Most files of a commit have one time."""
    return encode_field(6, nanoseconds)


@lru_cache(maxsize=256)
def _mode_field(mode: int) -> bytes:
    bits = mode & 0o777
    bits |= GO_DIR if stat.S_ISDIR(mode) else GO_LINK if stat.S_ISLNK(mode) else 0
    bits |= GO_SETUID if mode & stat.S_ISUID else 0
    bits |= GO_SETGID if mode & stat.S_ISGID else 0
    bits |= GO_STICKY if mode & stat.S_ISVTX else 0
    return encode_field(2, bits)


def read_option(headers: Headers, name: str) -> list[str]:
    """All values of a header, unquoted where another header marks them as quoted."""
    values = [value.decode("utf-8", "surrogateescape") for key, value in headers if key == name.encode()]
    quoted = (f"{name}-encoded".encode(), b"1") in headers
    return [unquote_plus(value) for value in values] if quoted else values
