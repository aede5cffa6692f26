"""The files of runs in a home, for their retention: finding them, and removing them in two steps.

`mark` and `strip` remove the log and what else is large. The journal stays: it has each state of the run, and says that
the rest was removed. `remove` removes the folder. What is interrupted between any two calls is found again, and
continued by the same calls. All functions block, and raise OSError.

Meanwhile a new run may get the path: the queue forgot the task, and somebody submitted it again. So each step uses the
descriptor of the folder that was found, or compares them where a path is renamed.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from taskrunner.files.untrusted import empty_folder
from taskrunner.model import RunKey
from taskrunner.state.journal import pruned_record
from taskrunner.state.journal_reader import FINAL, parse_journal, pruned_at, read_journal
from taskrunner.state.run_folder import TASK_ID, replacing_runs

JOURNAL = "journal.jsonl"

RUN = re.compile(r"(\d{1,18})(~\d+)?")
"""A run, or one that was set aside for a later run of the same number."""

TRASH = ".pruned"
"""The folder of what is removed: no id of a task begins so."""


@attrs.frozen
class RunFiles:
    """The folder of one run, as it was found."""

    run: RunKey
    path: Path
    node: tuple[int, int]
    """The folder itself, whatever its path is called: device and inode."""
    changed: float
    """Seconds since 1970: the end of the run, or its last change so far."""
    size: int
    """Bytes of its files, without the journal; 0: there are none."""

    @property
    def set_aside(self) -> bool:
        """Whether a later run has its number, and the artifacts under it."""
        return "~" in self.path.name


def task_folders(home: Path) -> list[str]:
    """The ids of all tasks of which there are runs."""
    with suppress(FileNotFoundError):
        return [name for name in os.listdir(home / "runs") if TASK_ID.fullmatch(name)]  # noqa: PTH208  names are enough
    return []


def find_runs(home: Path, task_ids: Iterable[str]) -> list[RunFiles]:
    """The runs of these tasks. One that is made or removed at this moment may be missing."""
    found = []
    for task_id in task_ids:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(home / "runs" / task_id) as entries:
            for entry in entries:
                match = RUN.fullmatch(entry.name)
                if match and entry.is_dir(follow_symlinks=False):
                    found.append(_look(RunKey(task_id, int(match[1])), Path(entry.path)))
    return found


def has_ended(files: RunFiles, workers: Iterable[str]) -> bool:
    """Whether the run has ended. `workers` are alive, or dead and not recovered yet: their runs have not."""
    records = read_journal(files.path / JOURNAL)
    first = records[0].data if records else {}
    return any(record.state == FINAL for record in records) or first.get("worker_id") not in set(workers)


def mark(files: RunFiles) -> bool:
    """Writes into the journal that the rest is removed. False: the folder was replaced. A second call does nothing."""
    with _opened(files) as folder:
        if folder is None:
            return False
        _mark(folder, files.path / JOURNAL)
        return True


def strip(files: RunFiles) -> None:
    """Removes every file of the run but its journal. A working folder, which a clean-up has left, stays."""
    with _opened(files) as folder:
        if folder is None:
            return
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
        for name in names:
            if name != JOURNAL:
                os.unlink(name, dir_fd=folder)


def remove(home: Path, files: RunFiles) -> list[str]:
    """Removes the folder of the run. Returns a line for each thing that stayed in the trash."""
    trash = home / "runs" / TRASH
    trash.mkdir(mode=0o700, exist_ok=True)
    with replacing_runs(home), _opened(files) as folder:
        if folder is not None:
            files.path.rename(trash / secrets.token_hex(8))
    with suppress(OSError):  # there are other runs of the task
        files.path.parent.rmdir()
    return empty_trash(home)


def empty_trash(home: Path) -> list[str]:
    """Removes what an interrupted `remove` has left."""
    return empty_folder(home / "runs" / TRASH)


def _look(run: RunKey, path: Path) -> RunFiles:
    with os.scandir(path) as entries:
        files = {entry.name: entry.stat(follow_symlinks=False) for entry in entries if not entry.is_dir()}
    journal = files.pop(JOURNAL, None)
    folder = path.stat(follow_symlinks=False)
    changed = (journal or folder).st_mtime
    size = sum(status.st_size or 1 for status in files.values())
    return RunFiles(run, path, (folder.st_dev, folder.st_ino), changed, size)


@contextmanager
def _opened(files: RunFiles) -> Iterator[int | None]:
    """The descriptor of the folder; None when another one has its path."""
    try:
        folder = os.open(files.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        status = os.fstat(folder)
        yield folder if (status.st_dev, status.st_ino) == files.node else None
    finally:
        os.close(folder)


def _mark(folder: int, path: Path) -> None:
    """The journal keeps its time: that is the end of the run."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(JOURNAL, flags, 0o600, dir_fd=folder), "r+b", buffering=0) as journal:  # noqa: PTH123  by its fd
        before, text = os.fstat(journal.fileno()), journal.read()
        if pruned_at(parse_journal(text, path)) is None:
            journal.truncate(text.rfind(b"\n") + 1)  # the worker may have died in the middle of a line
            journal.write(pruned_record())
            os.utime(journal.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
