"""The spool: the log of one run as a file, safe from the death of this process with every write.

A spool is one file that only grows. A long log fills it up to `HEAD` bytes; later bytes go to the overflow beside it
(`taskrunner.log.overflow`), which keeps the newest only, and is appended to the file at the end. So memory and disk are
bounded, offsets never change, and the part that readers look for, the end, is always there::

    head ... | [taskrunner] the log is long: ... | [taskrunner] 1,234,567 bytes left out ... | newest ... | trailer

The last lines are the trailer: how and why the run ended. There is always room for it, even when the disk is full. A
short log has the rest of its first block; before a log gets longer, a few blocks are reserved in a file beside it. A
spool that has its trailer is read-only, which is how a later worker recognizes it.

Beside it is its index (`taskrunner.log.log_index`), bounded as well: when each piece came, and from which
stream.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self, get_args

import attrs

from taskrunner.errors import TaskFailedInternally, local_failure
from taskrunner.files.private import write_private_file
from taskrunner.interfaces.log import Log, LogStream, OutputMasker, index_of
from taskrunner.log.forms import encode
from taskrunner.log.index_writer import IndexWriter
from taskrunner.log.masking import MIN_SECRET, Masker, StreamMasker
from taskrunner.log.overflow import Overflow
from taskrunner.log.reader import last_line
from taskrunner.model import Resolution

HEAD = 48 << 20
"""Bytes kept from the start of a log. With TAIL it makes 64 MiB: half a million lines, more than an editor likes to
open, while a hundred such runs fit on a small disk. GitLab keeps 4 MiB, and of that the start only."""

TAIL = 16 << 20
"""Bytes kept from the end: at least half of it, see `Overflow`."""

INDEX_PART = 8
"""The index may have an eighth of the bytes that the log may have: a record for each 128 bytes, which is more than a
line of text, or ten a second for eleven hours. When it is full, the times of what follows are unknown."""

RESERVE = 8 << 10
"""Bytes of disk held for the trailer: two blocks of the usual 4 KiB, since the file's last block may be full."""

SHORT = 2 << 10
"""Bytes of a log up to which nothing is reserved: the other half of the usual block has room for any trailer but a very
long one. Making and removing a file costs as much as the rest of a short log, and most logs are short."""

FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW

FINISHED = 0o400
"""The mode of a spool that has its trailer. Until then it is 0600."""

NEWLINE = ord("\n")
PREFIX = b"[taskrunner] "
"""How each line of the worker's own begins."""
LONG = "the log is long: what follows is shown when the run has ended, its newest part at least"

log = logging.getLogger(__name__)


class Spool(Log):
    """The log of one run, in a file that only its owner may read.

    `finish` ends it. When the disk fails, the first write that fails raises TaskFailedInternally. Later writes are left
    out, and the trailer says how many bytes that were.
    """

    def __init__(
        self,
        path: Path,
        *,
        head: int = HEAD,
        tail: int = TAIL,
        existing: bool = False,
    ) -> None:
        """Makes the file; see `reopen` for one that exists. Raises TaskFailedInternally when that fails."""
        self.path = path
        self._head = head
        self._overflow = Overflow(path, tail // 2, tail // 2 // INDEX_PART)
        self._index = IndexWriter(index_of(path), head // INDEX_PART, existing=existing)
        self._reserve, self._reserved = path.with_name(path.name + ".reserve"), existing
        self._masker = Masker()
        self._maskers = 0
        self._lock = threading.Lock()
        self._lost, self._why_lost = 0, ""
        self._finished = False
        self.on_growth: Callable[[], None] = _ignore_growth
        """Called after each write to the file, by any thread and with the lock held: it must not write, nor wait."""
        self._file = -1
        try:
            self._file = os.open(path, FLAGS | (0 if existing else os.O_CREAT | os.O_EXCL), 0o600)
            self._size = os.fstat(self._file).st_size
            self._at_line_start = os.pread(self._file, 1, max(0, self._size - 1)) in {b"", b"\n"}
            if existing:
                self._overflow.find()
        except OSError as error:
            if self._file >= 0:
                os.close(self._file)
            raise local_failure(f"cannot open the log of this run, {path}: {error.strerror}", error) from error

    @classmethod
    def reopen(cls, path: Path, *, head: int = HEAD, tail: int = TAIL) -> Self:
        """Opens the spool of a worker that died, to write its trailer. Its secrets are no longer known.

        Raises: TaskFailedInternally, also when there is no file.
        """
        return cls(path, head=head, tail=tail, existing=True)

    # ---- Log

    def write(self, data: bytes, stream: LogStream = "stdout") -> None:
        with self._lock:
            if not self._finished:
                self._put(self._masker.feed(data, stream), stream)

    def say(self, text: str) -> None:
        """Each line begins on a line of its own. It may overtake the newest bytes of the task, when these look like the
        beginning of a secret."""
        with self._lock:
            if not self._finished:
                self._put(self._lines(text), "worker")

    def mask(self, secret: str) -> None:
        """A secret shorter than `MIN_SECRET` bytes is not hidden, and the log says so: the author can change it."""
        with self._lock:
            hidden = self._masker.add(secret)
        if not hidden:
            self.say(f"a secret shorter than {MIN_SECRET} bytes cannot be hidden in this log; use a longer one")

    def new_masker(self) -> OutputMasker:
        with self._lock:
            self._maskers += 1
            return StreamMasker(self._masker, f"masker {self._maskers}", self._lock)

    def hide(self, text: str) -> str:
        """Removes this log's secrets from a text that is shown elsewhere, such as a resolution's message."""
        with self._lock:
            return self._masker.whole(encode(text)).decode("utf-8", "replace")

    # ---- the end

    def finish(self, resolution: Resolution, took: float) -> None:
        """Ends the log with how and why the run ended, after `took` seconds. Later writes are ignored, and a second
        call does nothing. Raises nothing: what cannot be written is left out.
        """
        with self._lock:
            if self._finished:
                return
            for stream in get_args(LogStream):
                self._try_put(self._masker.flush(stream), stream)
            self._finished = True
            self._join()
            self._index.end(self._size)
            self._remove_reserve()
            self._try_append(self._lines(self._trailer(resolution, took)))
            os.fchmod(self._file, FINISHED)
            os.close(self._file)

    @property
    def finished(self) -> bool:
        """Whether it has its trailer."""
        return self._finished

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return self._size

    @property
    def overflows(self) -> bool:
        """Whether what comes now is beside the file, until the end."""
        return self._overflow.begun

    @property
    def last_line(self) -> str:
        """The newest line that is not blank: short, without control characters. Reads the end of the file on each
        call."""
        return last_line(self._overflow.newest() or self.path)

    # ---- inside, with the lock held

    def _allocate_reserve(self) -> None:
        """Raises OSError; then the bytes that would fill the first block are not written to it."""
        self._reserved = True
        self._reserve.unlink(missing_ok=True)
        write_private_file(self._reserve, bytes(RESERVE))

    def _remove_reserve(self) -> None:
        if self._reserved:
            try:
                self._reserve.unlink(missing_ok=True)
            except OSError as error:
                log.warning("cannot remove %s: %s", self._reserve, error.strerror)

    def _lines(self, text: str) -> bytes:
        masked = self._masker.whole(encode(text))
        lines = b"".join(PREFIX + line + b"\n" for line in masked.splitlines() or [b""])
        return lines if self._at_line_start else b"\n" + lines

    def _put(self, data: bytes, stream: LogStream) -> None:
        """Appends, or overflows. Raises TaskFailedInternally the first time that the disk fails."""
        if self._why_lost:
            self._lost += len(data)
        elif data:
            try:
                self._store(data, stream)
            except OSError as error:
                self._why_lost = error.strerror or str(error)
                self._lost = len(data)
                raise local_failure(
                    f"the log of this run cannot be written any further, {self.path}: {self._why_lost}", error
                ) from error

    def _store(self, data: bytes, stream: LogStream) -> None:
        if not self._reserved and self._size + len(data) > SHORT:
            self._allocate_reserve()
        room = 0 if self._overflow.begun else max(0, self._head - self._size)
        if room:
            self._index.note(self._size, stream)
            self._append(data[:room])
        if len(data) > room:
            if not self._overflow.begun:
                self._index.note(self._size, "worker")
                self._append(self._lines(LONG))
                self._overflow.begin(self._size)
            self._overflow.append(data[room:], stream)
        self._at_line_start = data.endswith(b"\n")

    def _append(self, data: bytes) -> None:
        """Unbuffered: what the system call has accepted survives the death of this process."""
        view = memoryview(data)
        while view:
            taken = os.write(self._file, view)
            self._size += taken
            self._at_line_start = view[taken - 1] == NEWLINE
            view = view[taken:]
        self.on_growth()

    def _try_append(self, data: bytes) -> None:
        try:
            self._append(data)
        except OSError as error:
            log.warning("the end of the log %s is not whole: %s", self.path, error.strerror)

    def _try_put(self, data: bytes, stream: LogStream) -> None:
        try:
            self._put(data, stream)
        except TaskFailedInternally as error:
            log.warning("%s", error)

    def _join(self) -> None:
        """Moves the overflow to the end of the file. When the disk is full, as much of its beginning as fits."""
        if self._overflow.begun:
            try:
                self._copy_overflow()
            except OSError as error:
                self._why_lost = error.strerror or str(error)
            try:
                self._overflow.remove()
            except OSError as error:
                log.warning("a part of the log %s is left beside it: %s", self.path, error.strerror)

    def _copy_overflow(self) -> None:
        os.ftruncate(self._file, self._overflow.joins_at)  # a worker may have died in the middle of joining
        self._size, self._at_line_start = self._overflow.joins_at, True
        if self._overflow.left_out:
            self._index.note(self._size, "worker")
            self._append(self._lines(f"{self._overflow.left_out:,} bytes left out here: the log is too long"))
        self._index.add(attrs.evolve(mark, offset=self._size + mark.offset) for mark in self._overflow.marks())
        for piece in self._overflow.pieces():
            self._append(piece)

    def _trailer(self, resolution: Resolution, took: float) -> str:
        lost = f"at least {self._lost:,} bytes are missing here: {self._why_lost}\n" if self._why_lost else ""
        message = f": {resolution.message}" if resolution.message else ""
        return f"{lost}{resolution} after {took:,.1f} s{message}"


def _ignore_growth() -> None:
    return


def is_finished(path: Path) -> bool:
    """Whether there is a spool at this path, and it has its trailer."""
    return path.exists() and not path.stat().st_mode & stat.S_IWUSR
