"""The files of one run in a folder store. Every call blocks and runs in a thread."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import attrs

from taskrunner.interfaces.log import index_of
from taskrunner.model import Artifact

UNFINISHED = ".part"
"""Ends the name of a data file while it is written."""

MAX_HINT = 80
"""Characters of an artifact's name in the name of its data file, for people who read the folder."""


class Upload:
    """A data file while it is written. The lock tells it from the file of a dead writer. See `begin`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.path = folder / f"{secrets.token_hex(8)}-{_readable(name)}{UNFINISHED}"
        self.busy = Lock()
        self.kept = False
        self._file = self.path.open("xb")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._hash = hashlib.sha256()

    @classmethod
    def begin(cls, folder: Path, name: str) -> Upload:
        """A new data file, locked. Before the lock, a clean-up may remove the file; then another one is made."""
        while not (upload := cls(folder, name)).path.exists():
            upload.close()
        return upload

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)

    def finish(self) -> Artifact:
        """Syncs the file and gives it its final name. It stays locked."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.path = self.path.rename(self.path.with_suffix(""))
        return Artifact(self.name, self._file.tell(), self._hash.hexdigest())

    def close(self) -> None:
        """Removes the file, unless it was kept. A second call does nothing."""
        with self.busy:
            if not (self.kept or self._file.closed):
                self.path.unlink(missing_ok=True)
            with suppress(OSError):  # the error of a full disk was raised by the write
                self._file.close()


class ArtifactFolder:
    """The folder of a run: `data`, `index`, `log` and `log.index`."""

    def __init__(self, path: Path) -> None:
        self._data, self._index, self._log = path / "data", path / "index", path / "log"

    def begin(self, name: str) -> Upload:
        for folder in (self._data, self._index):
            folder.mkdir(parents=True, exist_ok=True)
        for path in self._data.glob(f"*{UNFINISHED}"):
            self._remove_abandoned(path)
        return Upload.begin(self._data, name)

    def commit(self, upload: Upload, content_type: str) -> Artifact:
        """Writes the entry of an upload, and removes the data that it replaces."""
        with upload.busy:
            artifact = attrs.evolve(upload.finish(), content_type=content_type)
            entry = self._entry(artifact.name)
            replaced = _read_entry(entry)
            _sync(self._data)
            _replace(entry, json.dumps(attrs.asdict(artifact) | {"data": upload.path.name}).encode())
            upload.kept = True
        if replaced:
            (self._data / replaced["data"]).unlink(missing_ok=True)
        return artifact

    def keep_log(self, spool: Path) -> None:
        """Makes a hard link to the same file, or a copy where the disk has no links."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._keep_index(index_of(spool), index_of(self._log))
        _sync(spool)
        with suppress(OSError):  # there is a log already, or another disk, or one without links
            self._log.hardlink_to(spool)
            _sync(self._log.parent)
            return
        temporary = _temporary(self._log)
        try:
            _link_or_copy(spool, temporary)
            _sync(temporary)
            temporary.replace(self._log)
            _sync(self._log.parent)
        finally:
            temporary.unlink(missing_ok=True)  # renaming one of two names of the same file leaves both

    def _keep_index(self, source: Path, target: Path) -> None:
        """Not synced, and no error: the log is worth keeping without its times. An index of another log is removed."""
        temporary = _temporary(target)
        try:
            _link_or_copy(source, temporary)
            temporary.replace(target)
        except OSError:
            target.unlink(missing_ok=True)
        finally:
            temporary.unlink(missing_ok=True)

    def open(self, name: str) -> BinaryIO:
        """Raises: FileNotFoundError."""
        entry = self._entry(name)
        while found := _read_entry(entry):
            data: Path = self._data / found["data"]
            try:
                return data.open("rb")
            except FileNotFoundError:
                if _read_entry(entry) == found:  # otherwise the artifact was replaced just now
                    raise
        raise FileNotFoundError(f"the run has no artifact {name!r}")

    def open_log(self, name: str) -> BinaryIO:
        """The log or its index. Raises: FileNotFoundError."""
        return self._log.with_name(name).open("rb")

    def artifacts(self) -> list[Artifact]:
        """Sorted by name. Also removes the files of dead writers."""
        data = set(self._data.glob("*"))
        entries = list(self._entries())
        for path in data - {self._data / entry["data"] for entry in entries}:
            self._remove_abandoned(path)
        return sorted(map(_artifact, entries), key=lambda artifact: artifact.name)

    def _entry(self, name: str) -> Path:
        return self._index / f"{hashlib.sha256(name.encode()).hexdigest()}.json"

    def _entries(self) -> Iterator[dict[str, Any]]:
        return (entry for path in self._index.glob("*.json") if (entry := _read_entry(path)))

    def _remove_abandoned(self, path: Path) -> None:
        """Once it is locked here, its writer is dead, or has finished and its entry is visible."""
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if all(entry["data"] != path.name for entry in self._entries()):
                path.unlink(missing_ok=True)


def _artifact(entry: dict[str, Any]) -> Artifact:
    return Artifact(entry["name"], entry["size"], entry["sha256"], entry["content_type"])


def _read_entry(path: Path) -> dict[str, Any] | None:
    try:
        entry: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return entry


def _replace(path: Path, text: bytes) -> None:
    """Replaces a file atomically, for readers and for power cuts."""
    temporary = _temporary(path)
    try:
        temporary.write_bytes(text)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}-{secrets.token_hex(8)}")


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _readable(name: str) -> str:
    """The last part of a name, in characters that every disk takes."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name.rpartition("/")[2])[-MAX_HINT:]
