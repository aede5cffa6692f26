"""The folder of a run in the home: the paths of its files, and how it is made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

import attrs

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.files.file_lock import locked
from taskrunner.files.private import make_private_folder, new_private_folder
from taskrunner.limits import ID_HINT, ID_PATTERN
from taskrunner.model import RunKey

TASK_ID = re.compile(ID_PATTERN)


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

    def service_log(self, name: str) -> Path:
        """Of a service of this run."""
        return self.path / f"service-{name}.log"

    @cached_property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @cached_property
    def work(self) -> Path:
        """The working folder of the engine, removed when the run ends."""
        return self.path / "work"


def known_runs(home: Path) -> Iterator[RunKey]:
    """The runs that have a journal in this home."""
    for path in sorted(home.glob("runs/*/*/journal.jsonl")):
        task_id, run_id = path.parts[-3:-1]
        if TASK_ID.fullmatch(task_id) and run_id.isdecimal():
            yield RunKey(task_id, int(run_id))


def remove_link(folder: RunFolder) -> Path | None:
    """Removes a link that is in the place of the run's folder, or of one around or in it: only a task can have put it
    there, and what it leads to is not the run's. Returns its path, when there was one. Raises OSError."""
    for path in (folder.path.parent, folder.path, folder.work):
        if path.is_symlink():
            path.unlink()
            return path
    return None


def make_run_folder(folder: RunFolder) -> bool:
    """Makes it. A folder of the same name, left from a queue that was reset and counts from 0 again, is renamed.
    Returns whether there was one. Raises OSError."""
    replaces = False
    while True:
        make_private_folder(folder.path.parent)
        try:
            new_private_folder(folder.path)
        except FileNotFoundError:
            continue  # the folder of the task was empty, and its retention has removed it
        except FileExistsError:
            with replacing_runs(folder.home):
                _set_aside(folder.path)
            replaces = True
        else:
            return replaces


def _set_aside(path: Path) -> None:
    number = 1
    while (free := path.with_name(f"{path.name}~{number}")).exists():
        number += 1
    with suppress(FileNotFoundError):  # its retention has removed it
        path.rename(free)


@contextmanager
def replacing_runs(home: Path) -> Iterator[None]:
    """The folder of a run is renamed inside of this, by one process at a time, for microseconds. Raises OSError."""
    with locked(home / "runs.lock"):
        yield
