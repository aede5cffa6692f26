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
from itertools import pairwise
from pathlib import Path

import attrs

from taskrunner.errors import Complaint, MalformedPayload, TaskFailedInternally
from taskrunner.model import Claim, Document, Json, Resolution, RunKey

FINAL = "resolved"
"""The state in which a run is done; a journal without it was left by a worker that died."""

TASK_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""What can be a folder on every system, and cannot lead out of one."""

log = logging.getLogger(__name__)


@attrs.frozen
class RunFolder:
    """Where one run keeps its things. Raises MalformedPayload when the task's id cannot be the name of a folder."""

    home: Path
    run: RunKey

    def __attrs_post_init__(self) -> None:
        if not TASK_ID.fullmatch(self.run.task_id):
            fix = "take 1 to 128 letters, digits, `_`, `-` and `.`, not beginning with `-` or `.`"
            raise MalformedPayload(Complaint("id", f"{self.run.task_id[:200]!r} cannot be the id of a task", fix))

    @property
    def path(self) -> Path:
        return self.home / "runs" / self.run.task_id / str(self.run.run_id)

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def work(self) -> Path:
        """What the engine is given: the run's own folder, removed after it."""
        return self.path / "work"


@attrs.frozen
class Record:
    """One line of a journal."""

    at: datetime
    """Time of day, UTC."""
    kind: str
    """`claimed` (the first), `moved` (to a state), or what `Journal.note` was given."""
    state: str = ""
    event: str = ""
    """What moved it there."""
    data: Document = attrs.field(factory=dict, repr=False)


@attrs.frozen
class Step:
    """One state of a run, as `story` tells it."""

    at: datetime
    state: str
    event: str
    took: float | None
    """Seconds until the next state; None in the last."""


class Journal:
    """Writes the journal of one run. Used by the run's owner only; not for several threads at once.

    When the disk does not take a record, the first call that hits this raises TaskFailedInternally; later ones are left
    out with a warning, so that the run can be brought to its end.
    """

    def __init__(self, folder: RunFolder, file: int) -> None:
        self._folder, self._file = folder, file
        self._whole, self._broken = True, False

    @classmethod
    def create(cls, folder: RunFolder, claim: Claim, platform: str) -> Journal:
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
        journal.note(
            "claimed",
            task_id=claim.task_id,
            run_id=claim.run_id,
            worker_id=claim.worker_id,
            platform=platform,
            token=claim.token,
        )
        return journal

    @classmethod
    def reopen(cls, folder: RunFolder) -> Journal:
        """Goes on with the journal of a worker that died. Raises TaskFailedInternally."""
        try:
            journal = cls(folder, os.open(folder.journal, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
        except OSError as error:
            raise TaskFailedInternally(f"cannot open the journal of run {folder.run}: {error}") from error
        journal._whole = False  # it may have died in the middle of a line
        return journal

    def moved(self, state: str, event: str, **data: Json) -> None:
        """The run is in this state now, because of this event."""
        self._append("moved", {"state": state, "event": event}, data)

    def note(self, kind: str, **data: Json) -> None:
        """Anything else to find after a crash: `handle`, `leak`."""
        self._append(kind, {}, data)

    def resolution(self, resolution: Resolution) -> None:
        """How the run ends; written before anybody is told."""
        self.note("resolution", **attrs.asdict(resolution))

    def close(self) -> None:
        """No more records. A second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, kind: str, step: dict[str, Json], data: dict[str, Json]) -> None:
        record: dict[str, Json] = {"at": _now(), "kind": kind, **step}
        if data:
            record["data"] = data
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            self._whole = self._write(line if self._whole else b"\n" + line)
        except OSError as error:
            self._refused(error.strerror or str(error))
        else:
            if not self._whole:
                self._refused("the disk took a part of a record only")

    def _write(self, line: bytes) -> bool:
        return os.write(self._file, line) == len(line)

    def _refused(self, why: str) -> None:
        text = f"the journal of run {self._folder.run} cannot be written, {self._folder.journal}: {why}"
        if not self._broken:
            self._broken = True
            raise TaskFailedInternally(text)
        log.warning("%s", text)


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


def story(records: Sequence[Record]) -> tuple[Step, ...]:
    """The states that a run went through, and for how long."""
    moves = [record for record in records if record.kind == "moved"]
    lasted = [(after.at - before.at).total_seconds() for before, after in pairwise(moves)]
    return tuple(
        Step(move.at, move.state, move.event, took) for move, took in zip(moves, [*lasted, None], strict=False)
    )


def unfinished(home: Path, worker_id: str) -> list[tuple[RunFolder, list[Record]]]:
    """The runs that this worker has begun and not brought to their end. Only meaningful when it is dead."""
    return [(folder, records) for folder, records in _journals(home) if _left_by(worker_id, records)]


def _left_by(worker_id: str, records: list[Record]) -> bool:
    ours = bool(records) and records[0].data.get("worker_id") == worker_id
    return ours and all(record.state != FINAL for record in records)


def _journals(home: Path) -> Iterator[tuple[RunFolder, list[Record]]]:
    for path in sorted(home.glob("runs/*/*/journal.jsonl")):
        task_id, run_id = path.parts[-3:-1]
        if TASK_ID.fullmatch(task_id) and run_id.isdecimal():
            try:
                yield RunFolder(home, RunKey(task_id, int(run_id))), read_journal(path)
            except OSError as error:
                log.warning("cannot read %s: %s", path, error.strerror)


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
