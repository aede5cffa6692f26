"""Reading the journals of runs: their records, the states that a run was in, and the runs that a dead worker held."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import attrs

from taskrunner.model import Claim, Document, Json, StateVisit
from taskrunner.state.run_folder import RunFolder, known_runs

FINAL = "resolved"
"""The last state of a run. A dead worker's run whose journal lacks it is recovered."""

PRUNED = "pruned"

log = logging.getLogger(__name__)


@attrs.frozen
class Record:
    """One line of a journal."""

    at: datetime
    """Time of day, UTC."""
    kind: str
    """`claimed` (the first), `moved` (to a state), `renewed` (the claim has another token), `note` (what is lost, or a
    peer has not got), `left` (something that the clean-up could not remove), or `pruned` (its log and artifacts were
    removed)."""
    state: str = ""
    event: str = ""
    """The event that led to `state`."""
    message: str = ""
    """Why the claim was lost, when it was."""
    data: Document = attrs.field(factory=dict, repr=False)
    """Of the first record, the claim and the identity of the machine: `worker_id`, `platform`, `token`, `host`. Of
    `left`: `problems`, a line each. Of a note: its `text`."""


@attrs.frozen
class Unfinished:
    """A run that a worker began and did not finish."""

    folder: RunFolder
    claim: Claim
    """With its last token, and without the document: that may hold secrets, so the journal does not have it."""
    platform: str
    """As the document named it; possibly unknown."""
    records: tuple[Record, ...] = attrs.field(repr=False)


def read_journal(path: Path) -> list[Record]:
    """The records of a journal, in their order; none when there is no file. A line that is not a record, such as one
    that a killed worker began, is left out with a warning.

    Raises: OSError.
    """
    try:
        return parse_journal(path.read_bytes(), path)
    except FileNotFoundError:
        return []


def parse_journal(text: bytes, path: Path) -> list[Record]:
    """The records in the text of a journal. The path is for the warning."""
    records = [_parse(line) for line in text.split(b"\n") if line]
    if invalid := records.count(None):
        log.warning("%s: %d lines are no records and were left out", path, invalid)
    return [record for record in records if record is not None]


def state_visits(records: Sequence[Record]) -> tuple[StateVisit, ...]:
    """The states that a run was in, and for how long."""
    moves = [record for record in records if record.kind == "moved"]
    lasted = [(after.at - before.at).total_seconds() for before, after in pairwise(moves)]
    return tuple(
        StateVisit(move.at, move.state, move.event, move.message, took)
        for move, took in zip(moves, [*lasted, None], strict=False)
    )


def left_behind(records: Sequence[Record]) -> tuple[str, ...]:
    """What the clean-up of a run could not remove at its first try."""
    return tuple(str(line) for record in records if record.kind == "left" for line in _lines(record))


def notes(records: Sequence[Record]) -> tuple[str, ...]:
    """What did not go as it should, and changed nothing about the end of a run: what is lost, for instance."""
    return tuple(str(record.data.get("text", "")) for record in records if record.kind == "note")


def _lines(record: Record) -> Sequence[Json]:
    problems = record.data.get("problems")
    return problems if isinstance(problems, list) else ()


def is_over(folder: RunFolder) -> bool:
    """Whether a run has ended, or is not known any more. Raises OSError."""
    records = read_journal(folder.journal)
    return not records or any(record.state == FINAL for record in records)


def pruned_at(records: Sequence[Record]) -> datetime | None:
    """When the log and the artifacts of a run were removed, since they had been kept for long enough."""
    return next((record.at for record in records if record.kind == PRUNED), None)


def unfinished(home: Path, worker_id: str) -> list[Unfinished]:
    """The runs that this worker began and did not finish. Only meaningful when the worker is dead."""
    found = (unfinished_run(RunFolder(home, run), worker_id) for run in known_runs(home))
    return [run for run in found if run]


def unfinished_run(folder: RunFolder, worker_id: str = "") -> Unfinished | None:
    """A run of this worker, or of any, that is not finished; None when it is, or nothing is known of it."""
    try:
        records = read_journal(folder.journal)
    except OSError as error:
        log.warning("cannot read %s: %s", folder.journal, error.strerror)
        return None
    first = records[0].data if records else {}
    owner = str(first.get("worker_id", ""))
    if not owner or (worker_id and owner != worker_id) or any(record.state == FINAL for record in records):
        return None
    tokens = [str(record.data["token"]) for record in records if "token" in record.data]
    claim = Claim(folder.run.task_id, folder.run.run_id, {}, owner, tokens[-1] if tokens else "")
    return Unfinished(folder, claim, str(first.get("platform", "")), tuple(records))


def _parse(line: bytes) -> Record | None:
    try:
        found = json.loads(line)
        return Record(
            at=datetime.fromisoformat(found["at"]).astimezone(UTC),
            kind=str(found["kind"]),
            state=str(found.get("state", "")),
            event=str(found.get("event", "")),
            message=str(found.get("message", "")),
            data=dict(found.get("data", {})),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
