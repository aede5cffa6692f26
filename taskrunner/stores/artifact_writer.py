"""Artifacts of one run that are written together, and listed together. Every call blocks and runs in a thread."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import attrs

from taskrunner.files.private import make_private_folder, new_private_file, write_private_file
from taskrunner.model import Artifact
from taskrunner.stores.artifact_entries import Entries
from taskrunner.stores.durable import sync, sync_all

MAX_HINT = 80
"""Characters of an artifact's name in the name of its data file, for people who read the folder."""


@attrs.frozen
class NewArtifact:
    """What is known of an artifact before its data."""

    name: str
    size: int | None
    """Bytes; None when that is not known."""
    content_type: str
    content_encoding: str
    expires: datetime | None


class Upload:
    """A data file while it is written, by one thread at a time."""

    def __init__(self, path: Path, new: NewArtifact) -> None:
        self.new, self.path = new, path
        self._file = new_private_file(path)
        self._size, self._hash = 0, hashlib.sha256()

    @property
    def name(self) -> str:
        return self.new.name

    def write(self, chunk: bytes) -> None:
        """Raises ValueError when the file gets larger than it was said to be."""
        self._hash.update(chunk)
        self._size += len(chunk)
        if self.new.size is not None and self._size > self.new.size:
            raise ValueError(f"it is larger than the {self.new.size:,} bytes that it was said to have")
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._file, view) :]

    def finish(self) -> Artifact:
        """Raises ValueError when the file is smaller than it was said to be."""
        if self.new.size not in {None, self._size}:
            raise ValueError(f"it has {self._size:,} bytes, and not {self.new.size:,} as it was said to have")
        self.close()
        new = self.new
        return Artifact(
            new.name, self._size, self._hash.hexdigest(), new.content_type, new.expires, new.content_encoding
        )

    def close(self) -> None:
        """A second call does nothing. No errors: that of a full disk was raised by the write."""
        if self._file >= 0:
            with suppress(OSError):
                os.close(self._file)
            self._file = -1


class ArtifactWriter:
    """Some artifacts of one run, from `begin` to `close`. Several threads may use it.

    Its lock file, `writers/<token>.lock`, tells its data files, `data/<token>-<number>-<name>`, from those of a writer
    that died.
    """

    def __init__(self, run: Path, entries: Entries) -> None:
        self._data, self._entries = run / "data", entries
        self._complete: dict[str, tuple[Upload, Artifact]] = {}
        self._open: set[Upload] = set()
        self._busy = Lock()
        self._closed = False
        self._count = 0
        for folder in (self._data, entries.folder, run / "writers"):
            make_private_folder(folder)
        self._token, self._lock_path, self._lock = _lock_new(run / "writers")

    def begin(self, new: NewArtifact) -> Upload:
        with self._busy:
            self._count += 1
            upload = Upload(self._data / f"{self._token}-{self._count}-{_readable(new.name)}", new)
            self._open.add(upload)
            return upload

    def keep(self, upload: Upload) -> Artifact:
        """All data are written: it is listed by `publish`. A later upload of the same name replaces it. Raises
        ValueError."""
        with self._busy:
            artifact = upload.finish()
            self._open.discard(upload)
            if earlier := self._complete.get(upload.name):
                earlier[0].path.unlink(missing_ok=True)
            self._complete[upload.name] = upload, artifact
            return artifact

    def discard(self, upload: Upload) -> None:
        """Removes an upload that is not complete; one that was kept stays. A second call does nothing."""
        with self._busy:
            if upload in self._open:
                self._open.discard(upload)
                upload.close()
                upload.path.unlink(missing_ok=True)

    def publish(self) -> None:
        """Lists what was kept, once all of it is on the disk, and removes what it replaces."""
        with self._busy:
            if self._closed or not self._complete:
                return
            prepared = [self._prepare(*kept) for kept in self._complete.values()]
            data = [upload.path for upload, _ in self._complete.values()]
            sync_all([*data, *(temporary for temporary, _ in prepared)], self._data, self._entries.folder)
            replaced = [self._entries.read(entry) for _, entry in prepared]
            for temporary, entry in prepared:
                temporary.replace(entry)
            sync(self._entries.folder)
            self._complete.clear()
        for before in replaced:
            if before:
                (self._data / before["data"]).unlink(missing_ok=True)

    def close(self) -> None:
        """Removes what was not published. A second call does nothing."""
        with self._busy:
            if self._closed:
                return
            self._closed = True
            for upload in (*self._open, *(kept for kept, _ in self._complete.values())):
                upload.close()
                upload.path.unlink(missing_ok=True)
                self._temporary(upload.name).unlink(missing_ok=True)
            self._lock_path.unlink(missing_ok=True)
            os.close(self._lock)

    def _prepare(self, upload: Upload, artifact: Artifact) -> tuple[Path, Path]:
        temporary = self._temporary(upload.name)
        temporary.unlink(missing_ok=True)
        until = artifact.expires and artifact.expires.astimezone(UTC).isoformat()
        document = attrs.asdict(artifact) | {"expires": until, "data": upload.path.name}
        write_private_file(temporary, json.dumps(document).encode())
        return temporary, self._entries.path(upload.name)

    def _temporary(self, name: str) -> Path:
        entry = self._entries.path(name)
        return entry.with_name(f".{entry.name}-{self._token}")


def remove_abandoned(run: Path, entries: Entries) -> None:
    """Removes the files of writers that died."""
    for lock_path in (run / "writers").glob("*.lock"):
        with suppress(FileNotFoundError, BlockingIOError), lock_path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_all_of(lock_path.stem, run / "data", entries)
            lock_path.unlink(missing_ok=True)


def remove_unlisted(run: Path, entries: Entries, listed: set[str]) -> None:
    """Removes data that no entry names and no writer has: what they replaced was not removed in time. `listed` are the
    names that were listed a moment ago."""
    left = {path for path in (run / "data").glob("*") if path.name not in listed}
    left = {path for path in left if not (run / "writers" / f"{path.name.partition('-')[0]}.lock").exists()}
    if left:  # their writer may have published them since, and ended
        now = {entry["data"] for entry in entries.all()}
        for path in left:
            if path.name not in now:
                path.unlink(missing_ok=True)


def _remove_all_of(token: str, data: Path, entries: Entries) -> None:
    listed = {entry["data"] for entry in entries.all()}
    for path in data.glob(f"{token}-*"):
        if path.name not in listed:
            path.unlink(missing_ok=True)
    for path in entries.folder.glob(f".*-{token}"):
        path.unlink(missing_ok=True)


def _lock_new(folder: Path) -> tuple[str, Path, int]:
    """A new lock file, locked. Before the lock, a clean-up may remove it; then another one is made."""
    while True:
        token = secrets.token_hex(8)
        path = folder / f"{token}.lock"
        file = new_private_file(path)
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return token, path, file
        os.close(file)


def _readable(name: str) -> str:
    """The last part of a name, in characters that every disk takes."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name.rpartition("/")[2])[-MAX_HINT:]
