"""Which images the workers of a home have brought to one daemon, and who is about to use them.

A file for each image, named as its id: a line for each name that a worker gave it. Its time of modification is that of
its last use. Whoever is about to use the image holds a shared lock on the file until Docker knows the container, which
protects the image from then on; whoever removes the image holds an exclusive one. The kernel releases the lock of a
worker that dies.

In `files`, a file that is named as the checksum of an archive holds the id of the image that was loaded from it.

Before an image is brought, a file in `bringing` says which names it will get and which images Docker has already, for
as long as it is locked. If it is not, its worker has died.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from taskrunner.files.file_lock import lock_existing
from taskrunner.files.private import make_private_folder, new_private_file, write_private_file


@attrs.frozen
class ImageRecord:
    """An image that a worker of this home has brought."""

    image_id: str
    names: frozenset[str]
    used_at: float
    """Seconds since 1970."""


@attrs.frozen
class Bringing:
    """An image that is being brought, or was when its worker died."""

    path: Path
    names: tuple[str, ...]
    known: frozenset[str]
    """The ids of the images that Docker had before."""


@attrs.frozen
class ImageRecords:
    """The records in one folder. Its methods block, and raise OSError."""

    folder: Path

    def note(self, image_id: str, names: Sequence[str]) -> None:
        """A worker has brought an image. May be called again, with other names."""
        make_private_folder(self.folder)
        file = os.open(self._path(image_id), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_CREAT, 0o600)
        try:
            os.write(file, "".join(f"{name}\n" for name in names).encode())
        finally:
            os.close(file)

    def lease(self, image_id: str) -> int | None:
        """Protects an image until the descriptor is closed. None: no worker of this home has brought it. Waits while
        it is being removed."""
        file = lock_existing(self._path(image_id), shared=True, wait=True)
        if file is not None:
            os.utime(file)
        return file

    def claim_removal(self, image_id: str) -> int | None:
        """Keeps others from using an image until the descriptor is closed. None: somebody is about to use it."""
        return lock_existing(self._path(image_id))

    def forget(self, image_id: str) -> None:
        """The image is gone."""
        self._path(image_id).unlink(missing_ok=True)
        for path in (self.folder / "files").glob("*"):
            if path.read_text() == image_id:
                path.unlink(missing_ok=True)

    def note_loaded(self, sha256: str, image_id: str) -> None:
        """A worker has loaded an image from the file with this checksum."""
        folder = self.folder / "files"
        make_private_folder(folder)
        write_private_file(folder / sha256, image_id.encode())

    def loaded_from(self, sha256: str) -> str:
        """The id of the image that was loaded from a file; empty for none. Docker may have it no more."""
        try:
            return (self.folder / "files" / sha256).read_text()
        except FileNotFoundError:
            return ""

    def all(self) -> list[ImageRecord]:
        """The images that were brought, the one first that was not used for the longest time."""
        paths = self.folder.glob("*.image") if self.folder.is_dir() else ()
        return sorted(filter(None, map(_read, paths)), key=lambda record: record.used_at)

    def begin(self, names: Sequence[str], known: Sequence[str]) -> tuple[Path, int]:
        """Notes that an image is about to be brought. Returns the file, and the descriptor that locks it."""
        folder = self.folder / "bringing"
        make_private_folder(folder)
        path = folder / secrets.token_hex(8)
        file = new_private_file(path.with_suffix(".new"))
        fcntl.flock(file, fcntl.LOCK_EX)
        os.write(file, json.dumps({"names": list(names), "known": list(known)}).encode())
        path.with_suffix(".new").rename(path)
        return path, file

    def abandoned(self) -> Iterator[Bringing]:
        """Those whose worker has died."""
        for path in (self.folder / "bringing").glob("*"):
            file = lock_existing(path)
            if file is not None:
                os.close(file)
                with suppress(OSError, ValueError):
                    found = json.loads(path.read_bytes())
                    yield Bringing(path, tuple(found["names"]), frozenset(found["known"]))

    def _path(self, image_id: str) -> Path:
        return self.folder / f"{image_id.rpartition(':')[2]}.image"


def _read(path: Path) -> ImageRecord | None:
    try:
        names = frozenset(path.read_text().splitlines())
        return ImageRecord(f"sha256:{path.stem}", names, path.stat().st_mtime)
    except FileNotFoundError:
        return None
