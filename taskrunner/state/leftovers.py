"""What a clean-up could not remove: a file for each run or dead worker in `<home>/leftovers`, until it is gone.

It is written before the run is over, and every worker of this home tries again. `leftovers` reads the list.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import attrs

from taskrunner.files.file_lock import try_lock
from taskrunner.files.private import make_private_folder
from taskrunner.model import RunKey

log = logging.getLogger(__name__)


@attrs.frozen
class Leftover:
    """Something of one run, or of a worker that died."""

    worker_id: str
    run: RunKey | None
    """None: of the worker itself, which died; it is not known of which run."""
    platform: str
    """Empty when the run had none yet, or when it is the worker itself."""
    problems: tuple[str, ...]
    """A line for each thing that was not removed at the last try, without secrets."""
    since: datetime
    """Time of day of the first try, UTC."""
    tries: int = 1

    def __str__(self) -> str:
        owner = f"run {self.run}" if self.run else f"worker {self.worker_id}, which died,"
        return f"{owner} has left behind, tries: {self.tries:,}: {'; '.join(self.problems)}"


def leftovers(home: Path) -> list[Leftover]:
    """Everything that waits to be removed, the oldest first. Creates nothing. Raises OSError."""
    found = [leftover for path in (home / "leftovers").glob("*.json") if (leftover := _read(path))]
    return sorted(found, key=lambda leftover: leftover.since)


def note_leftover(home: Path, worker_id: str, run: RunKey | None, platform: str, problems: Iterable[str]) -> None:
    """Writes down what a try has not removed; the first time is kept. Raises OSError."""
    path = _path(home, worker_id, run)
    before = _read(path)
    make_private_folder(path.parent)
    now = datetime.now(UTC)
    lines = tuple(problem.encode(errors="replace").decode() for problem in problems)
    leftover = Leftover(worker_id, run, platform, lines, now)
    if before:
        leftover = attrs.evolve(leftover, since=before.since, tries=before.tries + 1)
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}")
    try:
        _write(temporary, leftover)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def forget_leftover(home: Path, worker_id: str, run: RunKey | None) -> None:
    """Nothing is left any more. A second call does nothing. Raises OSError."""
    _path(home, worker_id, run).unlink(missing_ok=True)


@contextmanager
def removing_leftovers(home: Path) -> Iterator[bool]:
    """Encloses the tries of one worker. False: another worker of this home is at it, or there is nothing. Raises
    OSError."""
    try:
        folder = os.open(home / "leftovers", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        yield try_lock(folder)
    finally:
        os.close(folder)


def _path(home: Path, worker_id: str, run: RunKey | None) -> Path:
    digest = hashlib.sha256(f"{worker_id}\0{run or ''}".encode()).hexdigest()
    return home / "leftovers" / f"{digest[:32]}.json"


def _write(path: Path, leftover: Leftover) -> None:
    run = leftover.run and {"task_id": leftover.run.task_id, "run_id": leftover.run.run_id}
    document = attrs.asdict(leftover, recurse=False) | {"run": run, "since": leftover.since.isoformat()}
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(file, "w", encoding="utf-8") as text:  # noqa: PTH123  a descriptor has no path
        json.dump(document, text)


def _read(path: Path) -> Leftover | None:
    try:
        found = json.loads(path.read_bytes())
        run = found["run"]
        return Leftover(
            worker_id=str(found["worker_id"]),
            run=RunKey(str(run["task_id"]), int(run["run_id"])) if run else None,
            platform=str(found["platform"]),
            problems=tuple(map(str, found["problems"])),
            since=datetime.fromisoformat(found["since"]).astimezone(UTC),
            tries=int(found["tries"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        log.warning("%s is no record of a leftover: %s", path, error)
        return None
