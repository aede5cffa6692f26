"""The packs of one repository in a folder, so that the next fetch transfers only new objects.

Each fetch adds `<number>-<commit>.pack` and then its index: a pack without an index does not count. A pack may need
the packs before it, so that all are removed together.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from taskrunner_git.failures import Broken
from taskrunner_git.packs.index import Index, build
from taskrunner_git.packs.indexing import index_pack
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import TRAILER, Pack
from taskrunner_git.times import TIMES

MODULES = "modules"
"""The folder with the mirrors of submodules."""
_OWNER = "repository"
"""The file that names the repository of these packs."""
_FORMAT = "taskrunner packs 1"
_MAX_PACKS = 32
"""At this number the mirror starts anew: each pack makes the search for an object longer, and may hold objects that no
commit needs."""


class Mirror:
    """Used by one fetch at a time. A folder that is damaged, or another repository's, is cleared without an error."""

    def __init__(self, folder: Path, repository: str) -> None:
        """`repository` is the URL without credentials. Raises OSError."""
        self.folder = folder
        self.objects = Objects()
        self.tips: list[str] = []
        """The commits whose objects are all here."""
        self._owner = f"{_FORMAT}\n{repository}\n"
        try:
            self._open()
        except (Broken, OSError, ValueError):
            self.clear()

    @property
    def incoming(self) -> Path:
        """The file that the next pack is written to."""
        return self.folder / "incoming"

    def close(self) -> None:
        self.objects.close()

    def clear(self) -> None:
        """Removes everything, and starts anew. Raises OSError."""
        self.close()
        self.tips.clear()
        if self.folder.is_symlink() or self.folder.is_file():
            self.folder.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            _remove(path)
        (self.folder / _OWNER).write_text(self._owner, encoding="utf-8")

    def add_incoming(self, pack_id: bytes, check: Callable[[], None]) -> None:
        """Adds the objects of the incoming pack to those here, in memory only. Raises Broken, OSError, and the errors
        of `check`."""
        pack = Pack(self.incoming)
        try:
            data = build(index_pack(pack, self.objects, check), pack_id)
        except BaseException:
            pack.close()
            raise
        self.objects.add(pack, Index(data))
        self.incoming.with_suffix(".index").write_bytes(data)

    def keep_incoming(self, commit: str) -> None:
        """Keeps the incoming pack, with this commit as its tip. Nothing is synced to the disk: after a power cut, the
        checksums show which packs are complete. Raises OSError."""
        name = f"{len(self.tips):04}-{commit}"
        for path, suffix in ((self.incoming, ".pack"), (self.incoming.with_suffix(".index"), ".index")):
            path.rename(self.folder / f"{name}{suffix}")
        self.tips.append(commit)

    def _open(self) -> None:
        if (self.folder / _OWNER).read_text(encoding="utf-8") != self._owner:
            raise Broken("these are the packs of another repository")
        indexes = sorted(self.folder.glob("*-*.index"))
        if len(indexes) >= _MAX_PACKS:
            raise Broken("there are too many packs")
        for number, path in enumerate(indexes):
            self._load(number, path)
        known = {path.stem for path in indexes}
        for path in self.folder.iterdir():
            if path.name not in {_OWNER, MODULES, TIMES} and path.stem not in known:
                _remove(path)

    def _load(self, number: int, path: Path) -> None:
        count, _, commit = path.stem.partition("-")
        if int(count) != number:
            raise Broken("a pack is missing")
        index = Index(path.read_bytes())
        if _pack_id(path.with_suffix(".pack")) != index.pack_id:
            raise Broken("a pack is damaged")
        self.objects.add(Pack(path.with_suffix(".pack")), index)
        self.tips.append(commit)


def _pack_id(path: Path) -> bytes:
    """The SHA-1 that the pack ends with, verified: 25 ms for 40 MB, far less than the cost of a wrong build."""
    digest = hashlib.sha1(usedforsecurity=False)
    left = path.stat().st_size - TRAILER
    with path.open("rb", buffering=0) as file:
        while left > 0 and (data := file.read(min(1 << 20, left))):
            digest.update(data)
            left -= len(data)
        end = file.read()
    if end != digest.digest():
        raise Broken("a pack is damaged")
    return end


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
