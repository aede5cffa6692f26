"""Artifacts: files that exist are stored, and all missing ones are reported together."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from taskrunner.errors import TaskFailed, TaskFailedInternally, Unavailable
from taskrunner.files.archives.decompression import decompressed
from taskrunner.files.results import FolderResults as FolderOfARun
from taskrunner.interfaces.artifacts import Missing
from taskrunner.interfaces.results import Entry, Results
from taskrunner.model import Artifact, ArtifactSpec, Progress, RunKey
from taskrunner.runs.upload.artifact_upload import collect
from taskrunner.runs.upload.compression import check_compressions
from taskrunner.testing import MemoryLog
from taskrunner.testing.fakes.artifacts import MemoryStore

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

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **options: Any) -> Artifact:
        if self.failures:
            self.failures -= 1
            await anext(body)
            raise Unavailable("the network is away")
        return await super().put(run, name, body, **options)


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
        async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **options: Any) -> Artifact:
            if "dist" in name:
                raise ValueError("no dist in here")
            return await super().put(run, name, body, **options)

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


def test_what_a_store_has_not_taken_is_closed_before_it_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taskrunner.runs.upload.artifact_upload.DELAYS", (0.0,))
    reads = list[str]()

    async def read() -> AsyncIterator[bytes]:
        reads.append("begins")
        try:
            yield b"one"
            yield b"two"
        finally:
            reads.append("ends")

    class OneFile(FolderResults):
        async def archive_file(self, path: str) -> Entry:
            return Entry(path, 6, read)

    class Keeping(UnreliableStore):
        async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **options: Any) -> Artifact:
            bodies.append(body)
            return await super().put(run, name, body, **options)

    bodies = list[AsyncIterator[bytes]]()
    assert Upload(OneFile(Path()), Keeping(1)).collect(ArtifactSpec("a", "a")) == {"a": b"onetwo"}
    assert reads == ["begins", "ends"] * 2


def test_an_unavailable_store_is_tried_again(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.runs.upload.artifact_upload.DELAYS", (0.0, 0.0))
    upload.store = UnreliableStore(2)
    assert upload.collect(ArtifactSpec("a", "report.xml")) == {"a": b"this is report.xml"}
    assert upload.lines[-1].endswith("bytes: 18")
    upload.store = UnreliableStore(3)
    with pytest.raises(Unavailable):
        upload.collect(ArtifactSpec("a", "report.xml"))


def test_the_store_is_told_the_size_and_the_end_of_its_keeping(upload: Upload) -> None:
    told: list[dict[str, Any]] = []

    class TellingStore(MemoryStore):
        async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **options: Any) -> Artifact:
            told.append(options)
            return await super().put(run, name, body, **options)

    upload.store = TellingStore()
    before = datetime.now(UTC)
    upload.collect(ArtifactSpec("a", "report.xml", expires=3600), ArtifactSpec("b", "report.xml"))
    assert {options["size"] for options in told} == {len(upload.kept["a"])}
    hour = timedelta(hours=1)
    assert before + hour <= told[0]["expires"] <= datetime.now(UTC) + hour
    assert told[1]["expires"] is None


def test_a_file_of_another_size_than_it_was_listed_with_is_refused(upload: Upload) -> None:
    class Growing(MemoryStore):
        async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **options: Any) -> Artifact:
            return await super().put(run, name, body, **{**options, "size": options["size"] + 1})

    upload.store = Growing()
    with pytest.raises(TaskFailed, match="as it was said to have") as caught:
        upload.collect(ArtifactSpec("a", "report.xml"))
    assert caught.value.reason == "artifact-refused"


def test_an_internal_error_of_the_store_is_raised(upload: Upload) -> None:
    class FullStore(MemoryStore):
        async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **options: Any) -> Artifact:
            raise TaskFailedInternally("full")

    upload.store = FullStore()
    with pytest.raises(TaskFailedInternally):
        upload.collect(ArtifactSpec("a", "report.xml"))


def test_each_file_that_is_not_kept_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 101)
    (tmp_path / "small").touch()
    (tmp_path / "out").symlink_to("/etc/passwd")
    specs = [
        ArtifactSpec("large", "large"), ArtifactSpec("none", "none"), ArtifactSpec("out", "out"),
        ArtifactSpec("small", "small"),
    ]  # fmt: skip
    told: list[Missing] = []
    work = collect(
        specs, FolderResults(tmp_path), MemoryStore(), RUN, print, lambda _: None, max_size=100, on_missing=told.append
    )
    with pytest.raises(TaskFailed):
        asyncio.run(work)
    reasons = {each.name: each.reason for each in told}
    assert reasons == {"large": "too-large", "none": "missing", "out": "unreadable"}


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A sparse file counts as what would be sent of it."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "small").write_bytes(b"x" * 100)
    store, specs = MemoryStore(), (ArtifactSpec("a", "sparse"), ArtifactSpec("b", "small"))

    async def main() -> None:
        with pytest.raises(
            TaskFailed, match=r"1,099,511,627,776 bytes.* 100 of an artifact.*max_artifact_size"
        ) as caught:
            await collect(specs, FolderResults(tmp_path), store, RUN, print, lambda _: None, max_size=100)
        assert caught.value.reason == "artifact-refused"
        assert [each.name for each in await store.list(RUN)] == ["b"]

    asyncio.run(main())


def test_a_file_that_sends_more_than_it_said_is_refused_too(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(60)

    class Growing(FolderResults):
        def _entry(self, name: str, path: Path) -> Entry:
            return Entry(name, 1, endless)

    (tmp_path / "growing").touch()
    store = MemoryStore()

    async def main() -> None:
        with pytest.raises(TaskFailed, match="max_artifact_size"):
            await collect(
                (ArtifactSpec("a", "growing"),), Growing(tmp_path), store, RUN, print, lambda _: None, max_size=100
            )
        assert await store.list(RUN) == []

    asyncio.run(main())


# ---- archives and compression ---------------------------------------------------------------------------


class ProcessFolder(FolderOfARun):
    """The results of every engine whose runs work in a folder."""

    def __init__(self, folder: Path) -> None:
        self.log = MemoryLog()
        super().__init__(folder, self.log, 0)


def test_an_archive_is_one_artifact_with_everything_in_it(upload: Upload, tmp_path: Path) -> None:
    upload.results = ProcessFolder(tmp_path)
    kept = upload.collect(ArtifactSpec("all.tar", ".", archive=True), ArtifactSpec("build.tar", "build", archive=True))
    with tarfile.open(fileobj=io.BytesIO(kept["all.tar"])) as tar:
        assert {"report.xml", "build/dist/b.whl", "empty", "link", "out"} <= set(tar.getnames())
        assert tar.getmember("out").linkname == "/etc/passwd"
        assert (tar.getmember("empty").isdir(), tar.getmember("report.xml").uid) == (True, 0)
    with tarfile.open(fileobj=io.BytesIO(kept["build.tar"])) as tar:
        assert sorted(tar.getnames()) == [".hidden", ".hidden/d.whl", "a.whl", "dist", "dist/b.whl", "dist/c.txt"]
    assert {artifact.content_type for artifact in asyncio.run(upload.store.list(RUN))} == {"application/x-tar"}


def test_an_archive_of_odd_files_is_a_tar_that_others_read(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    long = "x" * 200
    (folder / long).mkdir()
    for name in (f"{long}/{long}", "grün", os.fsdecode(b"not-utf-8-\xff")):
        (folder / name).write_text(name, errors="surrogateescape")
    os.mkfifo(folder / "pipe")
    (folder / "executable").touch(mode=0o755)
    results = ProcessFolder(folder)
    upload = Upload(results)
    (tmp_path / "all.tar").write_bytes(upload.collect(ArtifactSpec("all.tar", ".", archive=True))["all.tar"])
    copy = tmp_path / "copy"
    copy.mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "all.tar", "-C", copy], check=True, timeout=60)
    for name in (f"{long}/{long}", "grün", os.fsdecode(b"not-utf-8-\xff")):
        assert (copy / name).read_text(errors="surrogateescape") == name
    assert stat.S_IMODE((copy / "executable").stat().st_mode) == 0o755
    assert not (copy / "pipe").exists()
    assert "left out 'pipe': it is a named pipe" in results.log.text


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_what_is_compressed_says_so(upload: Upload, tmp_path: Path, compression: Literal["gzip", "zstd"]) -> None:
    upload.results = ProcessFolder(tmp_path)
    (tmp_path / "build" / "large.txt").write_bytes(b"a line\n" * 100_000)
    specs = [
        ArtifactSpec("public", "build/*.txt", compression=compression),
        ArtifactSpec("empty.txt", "none.txt", compression=compression),
    ]
    (tmp_path / "none.txt").touch()
    kept = upload.collect(*specs)
    for name, plain in (("public/large.txt", b"a line\n" * 100_000), ("empty.txt", b"")):
        assert decompressed(io.BytesIO(kept[name]), compression).read(1_000_000) == plain
    about = {artifact.name: artifact for artifact in asyncio.run(upload.store.list(RUN))}["public/large.txt"]
    assert (about.content_encoding, about.content_type, about.size) == (
        compression,
        "text/plain",
        len(kept["public/large.txt"]),
    )
    assert about.size < 10_000
    assert upload.lines[0].endswith(f"bytes: 700,000, compressed: {about.size:,} ({compression})")


def test_a_compressed_artifact_is_sent_again_from_its_beginning(
    upload: Upload, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("taskrunner.runs.upload.artifact_upload.DELAYS", (0.0, 0.0))
    upload.store, upload.results = UnreliableStore(2), ProcessFolder(tmp_path)
    kept = upload.collect(ArtifactSpec("build.tar", "build", archive=True, compression="gzip"))
    with tarfile.open(fileobj=io.BytesIO(kept["build.tar"]), mode="r:gz") as tar:
        assert "dist/b.whl" in tar.getnames()


@pytest.mark.parametrize(("path", "reason"), [("none", "missing"), ("report.xml", "missing"), ("outer", "refused")])
def test_an_archive_is_of_a_folder_inside(upload: Upload, tmp_path: Path, path: str, reason: str) -> None:
    upload.results = ProcessFolder(tmp_path)
    with pytest.raises(TaskFailed) as caught:
        upload.collect(ArtifactSpec("a.tar", path, archive=True), ArtifactSpec("b", "link"))
    assert caught.value.reason == f"artifact-{reason}"
    assert list(upload.kept) == ["b"]


def test_a_platform_without_archives_keeps_the_other_artifacts(upload: Upload) -> None:
    with pytest.raises(TaskFailed, match="this platform does not support an archive of a folder"):
        upload.collect(ArtifactSpec("a.tar", "build", archive=True), ArtifactSpec("b", "link"))
    assert list(upload.kept) == ["b"]


def test_an_archive_is_no_larger_than_an_artifact_may_be(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(100_000))
    store, spec = MemoryStore(), ArtifactSpec("a.tar", ".", archive=True, compression="gzip")
    with pytest.raises(TaskFailed, match="max_artifact_size"):
        asyncio.run(collect((spec,), ProcessFolder(tmp_path), store, RUN, print, lambda _: None, max_size=50_000))
    assert store.bodies == {}


def test_a_worker_without_a_library_says_so_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    check_compressions([ArtifactSpec("a", "a"), ArtifactSpec("b", "b", compression="gzip")])
    with pytest.raises(TaskFailedInternally, match=r"taskrunner-worker\[archives\]"):
        check_compressions([ArtifactSpec("a", "a", compression="zstd")])
