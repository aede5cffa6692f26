"""The journal of a run: its claim and every state it enters, written before the work of that state begins.

One file of JSON lines per run, `<home>/runs/<task>/<run>/journal.jsonl`, each line appended by one system call; a part
of a line, after a crash or on a full disk, is cut off before the next one. What that call has accepted survives the
death of this process, which is the journal's purpose: the next worker on this home reads which runs a dead worker held,
and cleans them up. The file is not synced to the disk: a power cut leaves no process of the run to clean up, the lease
expires, and the queue grants the run again.

The journal holds no secret but the claim's token, and is readable by its owner only.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType

from taskrunner.errors import local_failure
from taskrunner.model import Claim, Json
from taskrunner.state.journal_reader import PRUNED
from taskrunner.state.run_folder import RunFolder, make_run_folder

log = logging.getLogger(__name__)

_encode = json.JSONEncoder(separators=(",", ":"), default=str, allow_nan=False).encode
"""As `json.dumps`, which makes an encoder on each call. Its output is ASCII."""


class Journal:
    """Writes the journal of one run. Used by the run's owner only; not for several threads at once.

    After its creation no method raises: a failed write is a warning. The run can end without its journal, and all that
    it started is also labelled with the worker's id, by which crash recovery finds it.
    """

    def __init__(self, folder: RunFolder, file: int, *, replaces: bool = False) -> None:
        self._folder, self._file = folder, file
        self.replaces = replaces
        """Whether another run had this number before: its queue was reset, or restored from a copy."""
        self._missing, self._why_missing = 0, ""
        """Number of records since the last one that was written."""

    @classmethod
    def create(cls, folder: RunFolder, claim: Claim, host: Mapping[str, str] = MappingProxyType({})) -> Journal:
        """Makes the run's folder, and in it the journal with its first record, in which `host` is the identity of the
        machine. A folder of the same name, left from a queue that was reset and counts from 0 again, is renamed.

        Raises: TaskFailedInternally.
        """
        platform = str(claim.document.get("platform"))[:100]  # the document is not checked yet
        data = {"worker_id": claim.worker_id, "platform": platform, "token": claim.token}
        line = _line("claimed", data={**data, "host": dict(host)} if host else data)
        try:
            replaces = make_run_folder(folder)
            return cls(folder, _new_file(folder, line), replaces=replaces)
        except OSError as error:
            raise local_failure(f"cannot make the folder of run {folder.run}: {error}", error) from error

    @classmethod
    def reopen(cls, folder: RunFolder) -> Journal:
        """Opens the journal of a worker that died, to append to it. Raises TaskFailedInternally."""
        try:
            file = os.open(folder.journal, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            try:
                _cut_off_half_a_line(file)
            except OSError:
                os.close(file)
                raise
        except OSError as error:
            raise local_failure(f"cannot open the journal of run {folder.run}: {error}", error) from error
        return cls(folder, file)

    def moved(self, state: str, event: str, message: str = "") -> None:
        """The run is in this state now, because of this event. `message` says why the claim was lost, when it was."""
        self._append("moved", state=state, event=event, **({"message": message} if message else {}))

    def renewed(self, token: str) -> None:
        """The claim has another token from now on."""
        self._append("renewed", data={"token": token})

    def note(self, text: str) -> None:
        """Something about the run did not go as it should, and changed nothing about its end."""
        self._append("note", data={"text": text.encode(errors="replace").decode()})

    def left(self, problems: Sequence[str]) -> None:
        """The clean-up could not remove these things."""
        self._append("left", data={"problems": [problem.encode(errors="replace").decode() for problem in problems]})

    def close(self) -> None:
        """Closes the file. A second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, kind: str, **fields: Json) -> None:
        line = _line(kind, **fields)
        try:
            if self._missing:
                text = f"records that are missing here: {self._missing:,} ({self._why_missing})"
                line = _line("note", data={"text": text}) + line
            _write_whole(self._file, line)
        except OSError as error:
            self._missing, self._why_missing = self._missing + 1, error.strerror or str(error)
            log.warning("the journal of run %s lacks a record, %r: %s", self._folder.run, kind, self._why_missing)
        else:
            self._missing = 0


def pruned_record() -> bytes:
    """The line of a journal that says so."""
    return _line(PRUNED)


def _line(kind: str, **fields: Json) -> bytes:
    return _encode({"at": _now(), "kind": kind, **fields}).encode() + b"\n"


def _new_file(folder: RunFolder, first: bytes) -> int:
    """A journal with its first record, without which nobody would find the run; else the folder is removed. Raises
    OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    file = -1
    try:
        file = os.open(folder.journal, flags, 0o600)
        _write_whole(file, first)
    except OSError:
        if file >= 0:
            os.close(file)
            folder.journal.unlink(missing_ok=True)
        with suppress(OSError):
            folder.path.rmdir()
        raise
    return file


def _write_whole(file: int, line: bytes) -> None:
    """Writes all of a line, or nothing of it. Raises OSError."""
    if (written := os.write(file, line)) < len(line):
        os.ftruncate(file, os.fstat(file).st_size - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _cut_off_half_a_line(file: int) -> None:
    """The worker may have died in the middle of one."""
    size = os.fstat(file).st_size
    os.ftruncate(file, os.pread(file, size, 0).rfind(b"\n") + 1)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
