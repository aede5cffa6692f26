"""What the results of every run provide."""

from __future__ import annotations

import io
import json
import tarfile

import attrs
import pytest

from taskrunner.errors import NotSupported
from taskrunner.interfaces.results import READ_SIZE
from taskrunner.testing.conformance.comparison import assert_same
from taskrunner.testing.conformance.measures import LARGE, little_memory
from taskrunner.testing.conformance.platform.harness import PlatformHarness, PlatformKit, joined, scenario
from taskrunner.testing.conformance.platform.script import Script

TREE = Script(files={"out/b.txt": "b", "out/a/deep.txt": "deep", "out/c.txt": "", "other": "x"})


def _members(archive: bytes) -> dict[str, str | None]:
    """By their names: the text of a file, the end of a link, None of a folder."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name.removeprefix("./"): _text(tar, member) for member in tar}


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str | None:
    if member.issym():
        return f"-> {member.linkname}"
    content = tar.extractfile(member)
    return content.read().decode() if content else None


class ResultsChecks(PlatformKit):
    """Files, folders, links; delivering; disposing."""

    @scenario
    async def test_a_file_is_archived_as_it_is(self, harness: PlatformHarness) -> None:
        trial = await harness.finished(TREE)
        entry = await trial.results.archive_file("out/a/deep.txt")
        assert (entry.name, entry.size) == ("deep.txt", 4)
        assert await joined(entry.read()) == b"deep"
        assert await trial.file("out/c.txt") == b""

    @scenario
    async def test_a_large_file_is_archived_whole(self, harness: PlatformHarness) -> None:
        size = 3 * READ_SIZE + 1
        trial = await harness.finished(Script(zeros={"large": size}))
        assert (await trial.results.archive_file("large")).size == size
        assert_same(await trial.file("large"), bytes(size))

    @scenario
    async def test_a_path_that_is_no_file_has_an_error_of_its_own(self, harness: PlatformHarness) -> None:
        results = (await harness.finished(TREE)).results
        with pytest.raises(FileNotFoundError):
            await results.archive_file("missing")
        with pytest.raises(IsADirectoryError):
            await results.archive_file("out")

    @scenario
    async def test_a_folder_is_archived_in_the_order_of_its_names(self, harness: PlatformHarness) -> None:
        results = (await harness.finished(TREE)).results
        found = [(entry.name, await joined(entry.read())) async for entry in results.archive_folder("out")]
        assert found == [("a/deep.txt", b"deep"), ("b.txt", b"b"), ("c.txt", b"")]

    @scenario
    async def test_what_a_store_has_not_taken_is_read_again(self, harness: PlatformHarness) -> None:
        results = (await harness.finished(TREE)).results
        found = {}
        async for entry in results.archive_folder("out"):
            begun = entry.read()
            await anext(begun, b"")
            await begun.aclose()  # type: ignore[attr-defined]  # of a generator, which every engine returns
            found[entry.name] = await joined(entry.read())
        assert found == {"a/deep.txt": b"deep", "b.txt": b"b", "c.txt": b""}

    @scenario
    async def test_a_path_that_is_no_folder_has_an_error_of_its_own(self, harness: PlatformHarness) -> None:
        results = (await harness.finished(TREE)).results
        with pytest.raises(FileNotFoundError):
            _ = [entry async for entry in results.archive_folder("missing")]
        with pytest.raises(NotADirectoryError):
            _ = [entry async for entry in results.archive_folder("other")]

    @scenario
    async def test_a_link_out_of_the_folder_is_not_followed(self, harness: PlatformHarness) -> None:
        links = {"out/absolute": "/etc/passwd", "out/up": "../../../../../etc/passwd", "outside": "/etc"}
        trial = await harness.finished(Script(files={"out/a": "a"}, links=links))
        for path in ("out/absolute", "out/up", "outside/passwd"):
            with pytest.raises(PermissionError):
                await trial.results.archive_file(path)
        with pytest.raises(PermissionError):
            _ = [entry async for entry in trial.results.archive_folder("outside")]
        assert [entry.name async for entry in trial.results.archive_folder("out")] == ["a"]
        assert "absolute" in trial.log.text, "a link that was left out must be named in the log"

    @scenario
    async def test_everything_is_archived_as_one_tar_stream(self, harness: PlatformHarness) -> None:
        results = (await harness.finished(TREE)).results
        if "archive" not in self.supports:
            with pytest.raises(NotSupported):
                await results.archive()
            return
        entry = await results.archive()
        for _ in range(2):
            members = _members(await joined(entry.read()))
            assert {name: members.get(name) for name in TREE.files} == TREE.files

    @scenario
    async def test_an_archive_is_of_the_folder_that_is_asked_for(self, harness: PlatformHarness) -> None:
        if "archive" not in self.supports:
            return
        links = {"out/link": "b.txt", "out/away": "/etc/passwd", "outside": "/etc"}
        results = (await harness.finished(attrs.evolve(TREE, links=links))).results
        members = _members(await joined((await results.archive("out")).read()))
        plain = {name: text for name, text in members.items() if text is not None}
        assert plain == {
            "b.txt": "b", "a/deep.txt": "deep", "c.txt": "", "link": "-> b.txt", "away": "-> /etc/passwd",
        }  # fmt: skip
        for path, error in (
            ("missing", FileNotFoundError), ("other", NotADirectoryError), ("outside", PermissionError),
        ):  # fmt: skip
            with pytest.raises(error):
                await joined((await results.archive(path)).read())

    @scenario
    async def test_an_archive_is_streamed(self, harness: PlatformHarness) -> None:
        if self.in_memory or "archive" not in self.supports:
            return
        trial, size = await harness.finished(Script(zeros={"large": LARGE})), 0
        with little_memory("reading"):
            async for chunk in (await trial.results.archive()).read():
                size += len(chunk)
        assert size > LARGE

    @scenario
    async def test_the_result_of_deliver_is_json(self, harness: PlatformHarness) -> None:
        results = (await harness.finished(Script())).results
        assert isinstance(json.loads(json.dumps(await results.deliver())), dict)

    @scenario
    async def test_how_a_run_ended_is_said_in_json_values(self, harness: PlatformHarness) -> None:
        for code in (0, 3):
            results = (await harness.finished(Script(exit_code=code))).results
            assert isinstance(json.loads(json.dumps(dict(results.details))), dict)
            assert (type(results.exit_code), type(results.reason), type(results.message)) == (int, str, str)

    @scenario
    async def test_a_large_file_is_streamed(self, harness: PlatformHarness) -> None:
        if self.in_memory:
            return
        trial, size = await harness.finished(Script(zeros={"large": LARGE})), 0
        with little_memory("reading"):
            async for chunk in (await trial.results.archive_file("large")).read():
                size += len(chunk)
        assert size == LARGE

    @scenario
    async def test_odd_names_are_names(self, harness: PlatformHarness) -> None:
        names = [".hidden", "a b", "gr\u00fcn", "out/.also hidden", "out/x*y"]
        trial = await harness.finished(Script(files={f"odd/{name}": name for name in names}))
        found = {entry.name: await joined(entry.read()) async for entry in trial.results.archive_folder("odd")}
        assert found == {name: name.encode() for name in names}
        assert await trial.file("odd/.hidden") == b".hidden"

    @scenario
    async def test_what_is_no_regular_file_is_left_out(self, harness: PlatformHarness) -> None:
        trial = await harness.finished(Script(files={"out/a": "a"}, fifos=("out/pipe",)))
        assert [entry.name async for entry in trial.results.archive_folder("out")] == ["a"]

    @scenario
    async def test_a_path_does_not_leave_the_folder(self, harness: PlatformHarness) -> None:
        (harness.home / "runs" / "secret").parent.mkdir(parents=True, exist_ok=True)
        (harness.home / "runs" / "secret").write_text("of the worker")
        trial = await harness.finished(TREE)
        absolute = [] if harness.platform.absolute_paths else [str(harness.home / "runs" / "secret")]
        for path in ("../secret", "out/../../secret", *absolute):
            with pytest.raises((PermissionError, FileNotFoundError)):
                await trial.file(path)

    @scenario
    async def test_results_are_disposed_of_once_or_twice(self, harness: PlatformHarness) -> None:
        trial = await harness.finished(TREE)
        await trial.results.dispose()
        assert await self.alive() == [], "something of the run is alive after dispose"
        assert await self.left_behind() == [], "something of the run is left after dispose"
        await trial.results.dispose()


__all__ = ["ResultsChecks"]
