"""The journal of a run: its claim and every state it enters, written before the work of that state begins.

One file of JSON lines per run, `<home>/runs/<task>/<run>/journal.jsonl`, each line appended by one system call. What
that call has accepted survives the death of this process, which is the journal's purpose: the next worker on this home
reads which runs a dead worker held, and cleans them up. The file is not synced to the disk: a power cut leaves no
process of the run to clean up, the lease expires, and the queue grants the run again.

The journal holds no secret but the claim's token, and is readable by its owner only.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import attrs

from taskrunner.errors import Complaint, MalformedPayload, TaskFailedInternally
from taskrunner.limits import ID_HINT, ID_PATTERN
from taskrunner.model import Claim, Document, Json, RunKey

FINAL = "resolved"
"""The last state of a run. A dead worker's run whose journal lacks it is recovered."""

TASK_ID = re.compile(ID_PATTERN)

log = logging.getLogger(__name__)

_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
"""As `json.dumps`, which makes an encoder on each call."""


@attrs.frozen
class RunFolder:
    """The paths of one run's files. Raises MalformedPayload when the task's id cannot be the name of a folder."""

    home: Path
    run: RunKey

    def __attrs_post_init__(self) -> None:
        if not TASK_ID.fullmatch(self.run.task_id):
            raise MalformedPayload(Complaint("id", f"{self.run.task_id[:200]!r} cannot be the id of a task", ID_HINT))

    @cached_property
    def path(self) -> Path:
        return self.home.joinpath("runs", self.run.task_id, str(self.run.run_id))

    @cached_property
    def log(self) -> Path:
        return self.path / "log"

    @cached_property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @cached_property
    def work(self) -> Path:
        """The working folder of the engine, removed when the run ends."""
        return self.path / "work"


@attrs.frozen
class Record:
    """One line of a journal."""

    at: datetime
    """Time of day, UTC."""
    kind: str
    """`claimed` (the first), or `moved` (to a state)."""
    state: str = ""
    event: str = ""
    """The event that led to `state`."""
    data: Document = attrs.field(factory=dict, repr=False)
    """The claim, in the first record: `worker_id`, `platform`, `token`."""


@attrs.frozen
class StateVisit:
    """One state that a run was in."""

    at: datetime
    state: str
    event: str
    took: float | None
    """Seconds until the next state; None for the last."""


@attrs.frozen
class Unfinished:
    """A run that a worker began and did not finish."""

    folder: RunFolder
    claim: Claim
    """As it was granted, without the document: that may hold secrets, so the journal does not have it."""
    platform: str
    """As the document named it; possibly unknown."""
    records: tuple[Record, ...] = attrs.field(repr=False)


class Journal:
    """Writes the journal of one run. Used by the run's owner only; not for several threads at once.

    After its creation no method raises: a failed write is a warning. The run can end without its journal, and all that
    it started is also labelled with the worker's id, by which crash recovery finds it.
    """

    def __init__(self, folder: RunFolder, file: int) -> None:
        self._folder, self._file = folder, file
        self._whole = True

    @classmethod
    def create(cls, folder: RunFolder, claim: Claim) -> Journal:
        """Makes the run's folder, and in it the journal with its first record. A folder of the same name, left from a
        queue that was reset and counts from 0 again, is renamed.

        Raises: TaskFailedInternally.
        """
        try:
            _make(folder.path)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            journal = cls(folder, os.open(folder.journal, flags, 0o600))
        except OSError as error:
            raise TaskFailedInternally(f"cannot make the folder of run {folder.run}: {error}") from error
        platform = str(claim.document.get("platform"))[:100]  # the document is not checked yet
        journal._append("claimed", data={"worker_id": claim.worker_id, "platform": platform, "token": claim.token})
        return journal

    @classmethod
    def reopen(cls, folder: RunFolder) -> Journal:
        """Opens the journal of a worker that died, to append to it. Raises TaskFailedInternally."""
        try:
            journal = cls(folder, os.open(folder.journal, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
        except OSError as error:
            raise TaskFailedInternally(f"cannot open the journal of run {folder.run}: {error}") from error
        journal._whole = False  # the worker may have died in the middle of a line
        return journal

    def moved(self, state: str, event: str) -> None:
        """The run is in this state now, because of this event."""
        self._append("moved", state=state, event=event)

    def close(self) -> None:
        """Closes the file. A second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, kind: str, **fields: Json) -> None:
        line = _encode({"at": _now(), "kind": kind, **fields}).encode() + b"\n"
        try:
            written = os.write(self._file, line if self._whole else b"\n" + line)
        except OSError as error:
            log.warning("the journal of run %s lacks a record, %r: %s", self._folder.run, kind, error.strerror)
        else:
            self._whole = written >= len(line)


def read_journal(path: Path) -> list[Record]:
    """The records of a journal, in their order; none when there is no file. A line that is not a record, such as one
    that a killed worker began, is left out with a warning.

    Raises: OSError.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    records = [_parse(line) for line in lines if line]
    if invalid := records.count(None):
        log.warning("%s: %d lines are no records and were left out", path, invalid)
    return [record for record in records if record is not None]


def state_visits(records: Sequence[Record]) -> tuple[StateVisit, ...]:
    """The states that a run was in, and for how long."""
    moves = [record for record in records if record.kind == "moved"]
    lasted = [(after.at - before.at).total_seconds() for before, after in pairwise(moves)]
    return tuple(
        StateVisit(move.at, move.state, move.event, took) for move, took in zip(moves, [*lasted, None], strict=False)
    )


def unfinished(home: Path, worker_id: str) -> list[Unfinished]:
    """The runs that this worker began and did not finish. Only meaningful when the worker is dead."""
    found = (_unfinished(RunFolder(home, run), worker_id) for run in _runs(home))
    return [run for run in found if run]


def _unfinished(folder: RunFolder, worker_id: str) -> Unfinished | None:
    try:
        records = read_journal(folder.journal)
    except OSError as error:
        log.warning("cannot read %s: %s", folder.journal, error.strerror)
        return None
    first = records[0].data if records else {}
    if first.get("worker_id") != worker_id or any(record.state == FINAL for record in records):
        return None
    claim = Claim(folder.run.task_id, folder.run.run_id, {}, worker_id, str(first.get("token", "")))
    return Unfinished(folder, claim, str(first.get("platform", "")), tuple(records))


def _runs(home: Path) -> Iterator[RunKey]:
    for path in sorted(home.glob("runs/*/*/journal.jsonl")):
        task_id, run_id = path.parts[-3:-1]
        if TASK_ID.fullmatch(task_id) and run_id.isdecimal():
            yield RunKey(task_id, int(run_id))


def _make(folder: Path) -> None:
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        number = 1
        while (free := folder.with_name(f"{folder.name}~{number}")).exists():
            number += 1
        folder.rename(free)
        folder.mkdir(mode=0o700)


def _parse(line: bytes) -> Record | None:
    try:
        found = json.loads(line)
        return Record(
            at=datetime.fromisoformat(found["at"]).astimezone(UTC),
            kind=str(found["kind"]),
            state=str(found.get("state", "")),
            event=str(found.get("event", "")),
            data=dict(found.get("data", {})),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
