"""What the results of every run provide."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from taskrunner.errors import NotSupported
from taskrunner.interfaces.results import READ_SIZE
from taskrunner.testing.conformance.platform_harness import PlatformHarness, PlatformKit, joined, scenario
from taskrunner.testing.conformance.script import Script

TREE = Script(files={"out/b.txt": "b", "out/a/deep.txt": "deep", "out/c.txt": "", "other": "x"})


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
        assert await trial.file("large") == bytes(size)

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
                await joined(results.archive())
            return
        with tarfile.open(fileobj=io.BytesIO(await joined(results.archive()))) as tar:
            names = [name.removeprefix("./") for name in tar.getnames()]
        assert set(names) >= set(TREE.files)

    @scenario
    async def test_the_result_of_deliver_is_json(self, harness: PlatformHarness) -> None:
        results = (await harness.finished(Script())).results
        assert isinstance(json.loads(json.dumps(await results.deliver())), dict)

    @scenario
    async def test_results_are_disposed_of_once_or_twice(self, harness: PlatformHarness) -> None:
        trial = await harness.finished(TREE)
        await trial.results.dispose()
        assert await self.alive() == [], "something of the run is left after dispose"
        await trial.results.dispose()


__all__ = ["ResultsChecks"]
