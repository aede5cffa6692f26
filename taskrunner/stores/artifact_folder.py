"""The files of one run in a folder store. Every call blocks and runs in a thread."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from taskrunner.files.private import make_private_folder, new_private_file
from taskrunner.files.untrusted import empty_folder
from taskrunner.interfaces.log import index_of
from taskrunner.model import Artifact
from taskrunner.stores.artifact_entries import Entries
from taskrunner.stores.artifact_writer import ArtifactWriter, remove_abandoned, remove_unlisted
from taskrunner.stores.durable import sync


class ArtifactFolder:
    """The folder of a run: `data`, `index`, `writers`, `log` and `log.index`."""

    def __init__(self, path: Path) -> None:
        self._path, self._entries = path, Entries(path / "index")
        self._data, self._log = path / "data", path / "log"

    def write(self) -> ArtifactWriter:
        """A writer of artifacts. Also removes the files of writers that died."""
        self.remove_abandoned()
        return ArtifactWriter(self._path, self._entries)

    def remove_abandoned(self) -> None:
        remove_abandoned(self._path, self._entries)

    def keep_log(self, spool: Path) -> None:
        """Makes a hard link to the same file, or a copy where the disk has no links."""
        make_private_folder(self._path)
        self._keep_index(index_of(spool), index_of(self._log))
        sync(spool)
        with suppress(OSError):  # there is a log already, or another disk, or one without links
            self._log.hardlink_to(spool)
            sync(self._path)
            return
        temporary = _temporary(self._log)
        try:
            _link_or_copy(spool, temporary)
            sync(temporary)
            temporary.replace(self._log)
            sync(self._path)
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
        entry = self._entries.path(name)
        while found := self._entries.read(entry):
            data: Path = self._data / found["data"]
            try:
                return data.open("rb")
            except FileNotFoundError:
                if self._entries.read(entry) == found:  # otherwise the artifact was replaced just now
                    raise
        raise FileNotFoundError(f"the run has no artifact {name!r}")

    def open_log(self, name: str) -> BinaryIO:
        """The log or its index. Raises: FileNotFoundError."""
        return self._log.with_name(name).open("rb")

    def artifacts(self) -> list[Artifact]:
        """Sorted by name. Also removes the files of writers that died."""
        self.remove_abandoned()
        entries = list(self._entries.all())
        remove_unlisted(self._path, self._entries, {entry["data"] for entry in entries})
        return sorted(map(_artifact, entries), key=lambda artifact: artifact.name)

    def remove(self, names: Iterable[str]) -> None:
        """Removes artifacts: first the entry, without which there is none."""
        for name in names:
            entry = self._entries.path(name)
            if found := self._entries.read(entry):
                entry.unlink(missing_ok=True)
                (self._data / found["data"]).unlink(missing_ok=True)

    def remove_all(self, trash: Path) -> list[str]:
        """Removes the run by one rename into the folder `trash`, which is then emptied, also of what an earlier call
        has left there. Returns a line for each thing that could not be removed."""
        make_private_folder(trash)
        with suppress(FileNotFoundError):
            self._path.rename(trash / secrets.token_hex(8))
        with suppress(OSError):  # there are other runs of the task
            self._path.parent.rmdir()
        return empty_folder(trash)


def _artifact(entry: dict[str, Any]) -> Artifact:
    expires = entry.get("expires")
    until = datetime.fromisoformat(expires) if expires else None
    encoding = entry.get("content_encoding", "")
    return Artifact(entry["name"], entry["size"], entry["sha256"], entry["content_type"], until, encoding)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or one without links
        with source.open("rb") as reading, open(new_private_file(target), "wb") as writing:  # noqa: PTH123  a descriptor has no path
            shutil.copyfileobj(reading, writing)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}-{secrets.token_hex(8)}")
