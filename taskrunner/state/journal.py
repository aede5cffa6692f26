"""The journal of a run: every step it took, written down before it is acted on.

One file of JSON lines per run, `<home>/runs/<task>/<run>/journal.jsonl`, each line appended by one system call. What
that call has taken survives the death of this process, which is what the journal is for: the next worker on this home
reads there what a dead one held, to remove it. It is not synced to the disk: after a power cut nothing of the run is
alive that would have to be found, its lease runs out, and the queue gives it to somebody again.

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
from taskrunner.model import Claim, Document, Json, RunKey

FINAL = "resolved"
"""The state in which a run is done; a journal without it was left by a worker that died."""

TASK_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
"""What can be a folder on every system, and cannot lead out of one."""

log = logging.getLogger(__name__)

_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
"""As `json.dumps` would, which makes an encoder each time."""


@attrs.frozen
class RunFolder:
    """Where one run keeps its things. Raises MalformedPayload when the task's id cannot be the name of a folder."""

    home: Path
    run: RunKey

    def __attrs_post_init__(self) -> None:
        if not TASK_ID.fullmatch(self.run.task_id):
            fix = "take 1 to 128 letters, digits, `_`, `-` and `.`, not beginning with `.`"
            raise MalformedPayload(Complaint("id", f"{self.run.task_id[:200]!r} cannot be the id of a task", fix))

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
        """What the engine is given: the run's own folder, removed after it."""
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
    """What moved it there."""
    data: Document = attrs.field(factory=dict, repr=False)
    """What the first record says of the claim: `worker_id`, `platform`, `token`."""


@attrs.frozen
class StateVisit:
    """One state of a run, as `story` tells it."""

    at: datetime
    state: str
    event: str
    took: float | None
    """Seconds until the next state; None in the last."""


@attrs.frozen
class Unfinished:
    """A run that a worker has begun and not brought to its end."""

    folder: RunFolder
    claim: Claim
    """As it was granted, but without the document, which is not written down: it may hold secrets."""
    platform: str
    """As the document named it; may be none that there is."""
    records: tuple[Record, ...] = attrs.field(repr=False)


class Journal:
    """Writes the journal of one run. Used by the run's owner only; not for several threads at once.

    Once it is made, nothing here raises: what the disk does not take is a warning. The run must still be brought to its
    end, which does not need the journal; and whatever it has started carries the worker's id, by which it is found too.
    """

    def __init__(self, folder: RunFolder, file: int) -> None:
        self._folder, self._file = folder, file
        self._whole = True

    @classmethod
    def create(cls, folder: RunFolder, claim: Claim) -> Journal:
        """Makes the run's folder, and in it the journal with its first record. A folder that is there already, from a
        queue that counts from 0 again, is moved aside.

        Raises: TaskFailedInternally.
        """
        try:
            _make(folder.path)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            journal = cls(folder, os.open(folder.journal, flags, 0o600))
        except OSError as error:
            raise TaskFailedInternally(f"cannot make the folder of run {folder.run}: {error}") from error
        platform = claim.document.get("platform")  # nobody has judged the document yet
        journal._append(
            "claimed", data={"worker_id": claim.worker_id, "platform": str(platform)[:100], "token": claim.token}
        )
        return journal

    @classmethod
    def reopen(cls, folder: RunFolder) -> Journal:
        """Goes on with the journal of a worker that died. Raises TaskFailedInternally."""
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
        """No more records. A second call does nothing."""
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
    """The records of a journal, in their order. Lines that are none, such as the last one of a worker that was killed
    in the middle of it, are left out with a warning; an unknown journal is empty. Raises OSError.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    records = [_parse(line) for line in lines if line]
    if rubbish := records.count(None):
        log.warning("%s: %d lines are no records and were left out", path, rubbish)
    return [record for record in records if record is not None]


def story(records: Sequence[Record]) -> tuple[StateVisit, ...]:
    """The states that a run went through, and for how long."""
    moves = [record for record in records if record.kind == "moved"]
    lasted = [(after.at - before.at).total_seconds() for before, after in pairwise(moves)]
    return tuple(
        StateVisit(move.at, move.state, move.event, took) for move, took in zip(moves, [*lasted, None], strict=False)
    )


def unfinished(home: Path, worker_id: str) -> list[Unfinished]:
    """The runs that this worker has begun and not brought to their end. Only meaningful when it is dead."""
    found = (_left(RunFolder(home, run), worker_id) for run in _runs(home))
    return [run for run in found if run]


def _left(folder: RunFolder, worker_id: str) -> Unfinished | None:
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
        while (aside := folder.with_name(f"{folder.name}~{number}")).exists():
            number += 1
        folder.rename(aside)
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
