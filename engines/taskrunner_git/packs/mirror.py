"""One repository in a folder, so that the next fetch transfers only new objects: a bare repository, as git makes it.

Each fetch adds a pack that stands alone, with the sizes of its objects (`sizes`) and its index: a pack without an index
does not count. The list of shallow commits and the refs follow, so that a fetch that is killed adds nothing but a pack.
At `_MAX_PACKS` packs, or `_MAX_COMMITS` commits, what the last `_KEPT_COMMITS` commits need is copied into one pack,
and all else is removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dulwich.config import ConfigFile

from taskrunner.interfaces.source import SourceLimits
from taskrunner_git.failures import Broken
from taskrunner_git.packs.combine import combine
from taskrunner_git.packs.index import Index, SizedIndex, build
from taskrunner_git.packs.indexing import PackScan, Spend, index_deltas
from taskrunner_git.packs.inflated import Inflated
from taskrunner_git.packs.mirror_refs import MirrorRefs, replace
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import Pack
from taskrunner_git.packs.reachable import reachable
from taskrunner_git.packs.sizes import load_sizes, save_sizes
from taskrunner_git.packs.thin import complete
from taskrunner_git.packs.verified import verified_id

MODULES = "modules"
"""The folder with the mirrors of submodules; git has the same one."""
_PACKS = Path("objects", "pack")
_MAX_PACKS = 32
"""Each pack makes the search for an object longer, and may hold objects that no commit needs."""
_MAX_COMMITS = 512
"""Each is a file, and a line of the request to the server."""
_KEPT_COMMITS = 8
"""Commits that stay when the packs are combined: the newest of the branches that are built by turns."""
_ORIGIN = (b"remote", b"origin")
_SETTINGS: list[tuple[tuple[bytes, ...], bytes, bytes]] = [
    ((b"core",), b"repositoryformatversion", b"0"),
    ((b"core",), b"filemode", b"true"),
    ((b"core",), b"bare", b"true"),
    ((b"fetch",), b"unpackLimit", b"1"),
    ((b"gc",), b"auto", b"0"),
]
"""The last two are for a `git fetch` in the mirror: it adds a pack, never loose objects, which are not read here."""


class Mirror:
    """Used by one fetch at a time. A folder that is damaged, or another repository's, is cleared without an error."""

    def __init__(self, folder: Path, repository: str, limits: SourceLimits | None = None) -> None:
        """`repository` is the URL without credentials. Raises OSError."""
        self.folder = folder
        self.objects = Objects(limits, Inflated(folder / _PACKS))
        self._repository = repository.encode()
        self._indexes: dict[Pack, Index] = {}
        self._incoming_id = b""
        try:
            self._open()
        except (Broken, OSError, ValueError):
            self.clear()

    @property
    def incoming(self) -> Path:
        """The file that the next pack is written to; `git gc` removes one that was left."""
        return self.folder / _PACKS / "tmp_pack_incoming"

    @property
    def tips(self) -> list[str]:
        """The commits whose objects are all here; the last one was used last."""
        return self.refs.commits

    def close(self) -> None:
        self.objects.close()
        self._indexes.clear()

    def clear(self) -> None:
        """Removes everything, and starts anew. Raises OSError."""
        self.close()
        if self.folder.is_symlink() or self.folder.is_file():
            self.folder.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            _remove(path)
        (self.folder / _PACKS).mkdir(parents=True)
        (self.folder / "refs").mkdir()
        replace(self.folder / "HEAD", "ref: refs/heads/main\n")
        self._write_config()
        self.refs = MirrorRefs(self.folder)

    def add_incoming(self, scan: PackScan, pack_id: bytes, spend: Spend) -> None:
        """Adds the objects of the incoming pack, which `scan` has seen, to those here, and completes it. Raises Broken,
        OSError, and the errors of `spend`."""
        pack = Pack(self.incoming)
        try:
            records, bases = index_deltas(pack, self.objects, scan, spend)
            if bases:
                more, pack_id = complete(self.incoming, bases, self.objects, lambda: spend(0))
                records += more
            self._add(pack, records, pack_id)
        except BaseException:
            pack.close()
            raise

    def keep_incoming(self) -> None:
        """Keeps the incoming pack. The index comes last, since it makes the pack count. Nothing is synced to the disk:
        after a power cut, the checksums show which packs are complete. Raises OSError."""
        for path, suffix in ((self.incoming, ".pack"), (self._new("sizes"), ".sizes"), (self._new("idx"), ".idx")):
            path.rename(path.with_name(f"pack-{self._incoming_id.hex()}{suffix}"))

    def discard_incoming(self) -> None:
        """Removes what a failed fetch has left. What cannot be removed now is removed when the mirror is opened."""
        for path in (self.incoming, self._new("sizes"), self._new("idx")):
            with suppress(OSError):
                path.unlink()

    def combine(self, check: Callable[[], None]) -> None:
        """Copies what the last commits need into one pack, when packs or commits have piled up. Raises Broken,
        OSError, and the errors of `check`."""
        if len(self._indexes) < _MAX_PACKS and len(self.tips) < _MAX_COMMITS:
            return
        commits = self.tips[-_KEPT_COMMITS:]
        needed = reachable(self.objects, commits, self.refs.named(), self.refs.shallow, check)
        records, pack_id = combine(self.objects, self._indexes, needed.ids, self.incoming, check)
        self.close()
        self._add(Pack(self.incoming), records, pack_id)
        self.keep_incoming()
        self.refs.keep(commits, needed.names, needed.shallow)
        for path in [*(self.folder / _PACKS).iterdir(), self.folder / "objects" / "info"]:
            if path.stem != f"pack-{pack_id.hex()}" and path.exists():
                _remove(path)

    def _new(self, kind: str) -> Path:
        return self.incoming.with_name(f"tmp_{kind}_incoming")

    def _add(self, pack: Pack, records: list[bytes], pack_id: bytes) -> None:
        """Adds the objects of the incoming pack, and writes its index and sizes beside it."""
        data, sizes = build(records, pack_id)
        index = Index(data)
        save_sizes(self._new("sizes"), index, sizes)
        self._new("idx").write_bytes(data)
        self.objects.add(pack, SizedIndex(index, sizes))
        self._indexes[pack] = index
        self._incoming_id = pack_id

    def _write_config(self) -> None:
        config = ConfigFile()
        for section, name, value in [*_SETTINGS, (_ORIGIN, b"url", self._repository)]:
            config.set(section, name, value)
        config.write_to_path(str(self.folder / "config"))

    def _open(self) -> None:
        config = ConfigFile.from_path(str(self.folder / "config"))
        if config.get(_ORIGIN, b"url") != self._repository:
            raise Broken("these are the packs of another repository")
        paths = sorted((self.folder / _PACKS).glob("*.idx"), key=lambda path: (-path.stat().st_size, path))
        for path in paths:
            self._load(path)
        known = {path.stem for path in paths}
        for path in (self.folder / _PACKS).iterdir():
            if path.stem not in known:
                _remove(path)
        self.refs = MirrorRefs(self.folder)
        if any(self.objects.find(bytes.fromhex(sha)) is None for sha in self.tips):
            raise Broken("a commit of the mirror is missing")

    def _load(self, path: Path) -> None:
        index = Index(path.read_bytes())
        if verified_id(path.with_suffix(".pack")) != index.pack_id:
            raise Broken("a pack is damaged")
        pack = Pack(path.with_suffix(".pack"))
        try:
            sizes = load_sizes(path.with_suffix(".sizes"), index, pack)
        except BaseException:
            pack.close()
            raise
        self.objects.add(pack, SizedIndex(index, sizes))
        self._indexes[pack] = index


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
