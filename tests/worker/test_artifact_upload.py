"""Artifacts: files that exist are stored, and all missing ones are reported together."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from taskrunner.errors import TaskFailed, TaskFailedInternally, Unavailable
from taskrunner.interfaces.results import Entry, Results
from taskrunner.model import Artifact, ArtifactSpec, Progress, RunKey
from taskrunner.testing.fakes.artifacts import MemoryStore
from taskrunner.worker.artifact_upload import collect

RUN = RunKey("t1", 0)


class FolderResults(Results):
    """The files of a folder on disk."""

    exit_code = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    async def archive_file(self, path: str) -> Entry:
        found = self._resolve(path)
        if found.is_dir():
            raise IsADirectoryError(path)
        return self._entry(found.name, found)

    async def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        folder = self._resolve(path)
        if not folder.is_dir():
            raise NotADirectoryError(path)
        for found in sorted(folder.rglob("*")):
            if found.is_file():
                yield self._entry(str(found.relative_to(folder)), found)

    async def dispose(self) -> None:
        pass

    def _resolve(self, path: str) -> Path:
        found = (self.folder / path).resolve(strict=True)
        if not found.is_relative_to(self.folder):
            raise PermissionError(errno.EACCES, "it leads out of the run's folder", path)
        return found

    def _entry(self, name: str, path: Path) -> Entry:
        async def read() -> AsyncIterator[bytes]:
            with path.open("rb") as file:
                while piece := file.read(4):
                    yield piece

        return Entry(name, path.stat().st_size, read)


class UnreliableStore(MemoryStore):
    """Is unavailable for the first tries, after it has read a part."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], *, content_type: str = "") -> Artifact:
        if self.failures:
            self.failures -= 1
            await anext(body)
            raise Unavailable("the network is away")
        return await super().put(run, name, body, content_type=content_type)


@attrs.define
class Upload:
    results: Results
    store: MemoryStore = attrs.field(factory=MemoryStore)
    lines: list[str] = attrs.field(factory=list)
    steps: list[Progress] = attrs.field(factory=list)

    def collect(self, *specs: ArtifactSpec, best_effort: bool = False) -> dict[str, bytes]:
        work = collect(
            specs, self.results, self.store, RUN, self.lines.append, self.steps.append, best_effort=best_effort
        )
        asyncio.run(work)
        return self.kept

    @property
    def kept(self) -> dict[str, bytes]:
        return {name: body for (_, name), body in self.store.bodies.items()}


@pytest.fixture
def upload(tmp_path: Path) -> Upload:
    files = ["report.xml", "build/a.whl", "build/dist/b.whl", "build/dist/c.txt", "build/.hidden/d.whl"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"this is {name}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("report.xml")
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "outer").symlink_to("/etc")
    return Upload(FolderResults(tmp_path))


def test_a_file_gets_the_name_of_its_spec(upload: Upload) -> None:
    assert upload.collect(ArtifactSpec("public/r.xml", "report.xml")) == {"public/r.xml": b"this is report.xml"}
    assert upload.lines == ["kept report.xml as public/r.xml: files: 1, bytes: 18"]
    assert upload.steps[-1] == Progress("artifacts", 18, note="public/r.xml")


def test_the_files_of_a_folder_get_its_name_as_a_prefix(upload: Upload) -> None:
    kept = upload.collect(ArtifactSpec("public", "build"), ArtifactSpec("none", "empty"))
    assert sorted(kept) == ["public/.hidden/d.whl", "public/a.whl", "public/dist/b.whl", "public/dist/c.txt"]


def test_a_pattern_collects_the_matching_files(upload: Upload) -> None:
    specs = [ArtifactSpec("wheels", "build/**/*.whl"), ArtifactSpec("top", "*.xml"), ArtifactSpec("x", "build/*/c.txt")]
    assert sorted(upload.collect(*specs)) == [
        "top/report.xml",
        "wheels/.hidden/d.whl",
        "wheels/a.whl",
        "wheels/dist/b.whl",
        "x/dist/c.txt",
    ]


def test_a_content_type_is_stored(upload: Upload) -> None:
    upload.collect(ArtifactSpec("r", "report.xml", content_type="text/x-report"), ArtifactSpec("r.xml", "report.xml"))
    types = {artifact.name: artifact.content_type for artifact in asyncio.run(upload.store.list(RUN))}
    assert types["r"] == "text/x-report"
    assert types["r.xml"].endswith("/xml")


def test_all_missing_files_are_reported_together_after_the_others_were_stored(upload: Upload) -> None:
    specs = [
        ArtifactSpec("one", "none.txt"),
        ArtifactSpec("two", "build/**/*.exe"),
        ArtifactSpec("three", "none/**/*.exe"),
        ArtifactSpec("four", "report.xml/*"),
        ArtifactSpec("maybe", "other.txt", optional=True),
        ArtifactSpec("last", "report.xml"),
    ]
    with pytest.raises(TaskFailed) as caught:
        upload.collect(*specs)
    assert caught.value.reason == "artifact-missing"
    assert [line.split(":")[0] for line in caught.value.message.splitlines()[1:]] == [spec.path for spec in specs[:4]]
    assert list(upload.kept) == ["last"]
    assert any(line.startswith("other.txt is optional") for line in upload.lines)


@pytest.mark.parametrize("path", ["out", "outer", "outer/*", "outer/passwd"])
def test_a_link_out_of_the_folder_is_refused(upload: Upload, path: str) -> None:
    with pytest.raises(TaskFailed) as caught:
        upload.collect(ArtifactSpec("a", path, optional=True), ArtifactSpec("b", "link"))
    assert caught.value.reason == "artifact-refused"
    assert "leads out of the run's folder" in caught.value.message
    assert "Errno" not in caught.value.message
    assert list(upload.kept) == ["b"]


def test_the_name_of_the_log_is_refused(upload: Upload) -> None:
    with pytest.raises(TaskFailed, match=r"report\.xml cannot be kept as log"):
        upload.collect(ArtifactSpec("log", "report.xml"))
    assert upload.kept == {}


def test_a_name_that_the_store_refuses_is_reported_and_the_others_are_stored(upload: Upload) -> None:
    class PickyStore(MemoryStore):
        async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], *, content_type: str = "") -> Artifact:
            if "dist" in name:
                raise ValueError("no dist in here")
            return await super().put(run, name, body, content_type=content_type)

    upload.store = PickyStore()
    with pytest.raises(TaskFailed, match="no dist in here") as caught:
        upload.collect(ArtifactSpec("x", "build/**/*.whl"))
    assert caught.value.reason == "artifact-refused"
    assert sorted(upload.kept) == ["x/.hidden/d.whl", "x/a.whl"]


def test_the_same_name_twice_is_refused_and_the_first_one_stays(upload: Upload) -> None:
    with pytest.raises(TaskFailed, match="another artifact"):
        upload.collect(ArtifactSpec("x/a.whl", "report.xml"), ArtifactSpec("x", "build/*.whl"))
    assert upload.kept == {"x/a.whl": b"this is report.xml"}


def test_best_effort_stores_the_files_that_exist_and_logs_the_others(upload: Upload) -> None:
    specs = [ArtifactSpec("a", "none"), ArtifactSpec("b", "out"), ArtifactSpec("c", "report.xml")]
    assert list(upload.collect(*specs, best_effort=True)) == ["c"]
    assert len([line for line in upload.lines if line.startswith("not kept: ")]) == 2


def test_an_unavailable_store_is_tried_again(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.worker.artifact_upload.DELAYS", (0.0, 0.0))
    upload.store = UnreliableStore(2)
    assert upload.collect(ArtifactSpec("a", "report.xml")) == {"a": b"this is report.xml"}
    assert upload.lines[-1].endswith("bytes: 18")
    upload.store = UnreliableStore(3)
    with pytest.raises(Unavailable):
        upload.collect(ArtifactSpec("a", "report.xml"))


def test_an_internal_error_of_the_store_is_raised(upload: Upload) -> None:
    class FullStore(MemoryStore):
        async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], *, content_type: str = "") -> Artifact:
            raise TaskFailedInternally("full")

    upload.store = FullStore()
    with pytest.raises(TaskFailedInternally):
        upload.collect(ArtifactSpec("a", "report.xml"))
