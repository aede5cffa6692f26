"""An artifact store in a folder, written from the documentation alone."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from taskrunner import Artifact, ArtifactStore, RunKey, Unavailable
from taskrunner.limits import ARTIFACT_PATTERN
from taskrunner.testing import ArtifactStoreConformance
from tests.testing.planted.planting import Bugs

CHUNK = 1 << 20
RESERVED = ("log", "log.index")


class SmallStore(ArtifactStore):
    """`root/TASK/RUN/HASH` has the data of an artifact, `HASH.json` beside it the entry in the list."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def put(
        self,
        run: RunKey,
        name: str,
        body: AsyncIterator[bytes],
        *,
        size: int | None = None,
        content_type: str = "",
        content_encoding: str = "",
        expires: datetime | None = None,
    ) -> Artifact:
        self.reach()
        self.check_name(name)
        temporary = self.temporary()
        try:
            written, digest = await self.write(temporary, body)
            self.check_size(written, size)
            artifact = Artifact(name, written, digest, content_type or self.guess(name), expires, content_encoding)
            self.commit(run, artifact, temporary)
        finally:
            self.undo(temporary)
        return artifact

    def reach(self) -> None:
        if (self.root / "down").exists():
            raise Unavailable("the store is down")

    def check_name(self, name: str) -> None:
        if not re.fullmatch(ARTIFACT_PATTERN, name):
            raise ValueError(f"{name!r} is no artifact name")
        if name in RESERVED:
            raise ValueError(f"{name!r} is a reserved name")

    def check_size(self, written: int, size: int | None) -> None:
        if size is not None and size != written:
            raise ValueError(f"the body has {written} bytes, and not {size} bytes")

    def temporary(self) -> Path:
        folder = self.root / "uploads"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / secrets.token_hex(8)

    async def write(self, path: Path, body: AsyncIterator[bytes]) -> tuple[int, str]:
        digest = hashlib.sha256()
        with path.open("wb") as file:
            async for chunk in body:
                file.write(chunk)
                digest.update(chunk)
            return file.tell(), digest.hexdigest()

    def guess(self, name: str) -> str:
        return mimetypes.guess_type(name)[0] or "application/octet-stream"

    def commit(self, run: RunKey, artifact: Artifact, data: Path) -> None:
        place = self.place(run, artifact.name)
        data.rename(place)
        entry = attrs.asdict(artifact) | {"expires": artifact.expires and artifact.expires.isoformat()}
        self.entry(place).write_text(json.dumps(entry))

    def undo(self, temporary: Path) -> None:
        temporary.unlink(missing_ok=True)

    def folder(self, run: RunKey) -> Path:
        return self.root / "runs" / run.task_id / str(run.run_id)

    def place(self, run: RunKey, name: str) -> Path:
        folder = self.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / self.key(name)

    def key(self, name: str) -> str:
        return name if name in RESERVED else hashlib.sha256(name.encode()).hexdigest()

    def entry(self, place: Path) -> Path:
        return place.with_name(f"{place.name}.json")

    async def put_log(self, run: RunKey, spool: Path) -> None:
        self.reach()
        shutil.copyfile(spool, self.place(run, "log"))
        index, place = spool.with_name(f"{spool.name}.index"), self.place(run, "log.index")
        if index.exists():
            shutil.copyfile(index, place)
        else:
            place.unlink(missing_ok=True)

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        self.reach()
        if name not in RESERVED:
            self.check_name(name)
        with self.place(run, name).open("rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK):
                yield chunk

    async def list(self, run: RunKey) -> list[Artifact]:
        self.reach()
        return sorted(self.entries(run), key=lambda artifact: artifact.name)

    def entries(self, run: RunKey) -> list[Artifact]:
        return [self.artifact(json.loads(path.read_text())) for path in self.folder(run).glob("*.json")]

    async def delete(self, run: RunKey, names: Collection[str] | None = None) -> None:
        self.reach()
        if names is None:
            shutil.rmtree(self.folder(run), ignore_errors=True)
        else:
            self.delete_some(run, names)

    def delete_some(self, run: RunKey, names: Collection[str]) -> None:
        for name in names:
            place = self.folder(run) / self.key(name)
            place.unlink(missing_ok=True)
            self.entry(place).unlink(missing_ok=True)

    def artifact(self, entry: dict[str, Any]) -> Artifact:
        expires = entry["expires"] and datetime.fromisoformat(entry["expires"])
        return Artifact(**entry | {"expires": expires})


class SmallStoreTests(ArtifactStoreConformance):
    plug: ClassVar[type[SmallStore]] = SmallStore

    @pytest.fixture(autouse=True)
    def _begin(self, tmp_path: Path) -> None:
        self.begin(tmp_path)

    def begin(self, folder: Path) -> None:
        self.root = folder / "store"

    def end(self) -> None:
        pass

    def store(self) -> SmallStore:
        return self.plug(self.root)

    async def kept_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())

    async def take_down(self) -> None:
        (self.root / "down").touch()

    async def bring_back(self) -> None:
        (self.root / "down").unlink()


STORES = Bugs(SmallStoreTests)
