"""Toolchains that a checkout asks for: found, missing, and installed in the background by real commands."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from taskrunner.errors import Reject, TaskFailed, TaskFailedInternally
from taskrunner.schema.decode import decode
from taskrunner_process import ProcessPlatform
from taskrunner_process.groups.available import available_groups
from taskrunner_process.groups.owner import owner_name
from taskrunner_process.groups.process_group import ProcessGroups
from taskrunner_process.payload import ProcessOptions, ToolchainOptions
from taskrunner_process.toolchains import Toolchains, installer, toolchains
from taskrunner_process.toolchains.commands import ToolCommands
from tests.support.queue_processes import soon

LIMIT = 20.0


@attrs.define(eq=False)
class Bench:
    """A machine whose versions of `ruby` are folders, and a checkout."""

    folder: Path
    groups: ProcessGroups

    def __attrs_post_init__(self) -> None:
        for name in ("checkout", "ruby", "home"):
            (self.folder / name).mkdir()

    def ask(self, text: str) -> None:
        (self.folder / "checkout" / ".ruby-version").write_text(text)

    def have(self, *versions: str) -> None:
        for version in versions:
            (self.folder / "ruby" / version).mkdir()

    def options(self, install: str = "", listing: str = "") -> dict[str, ToolchainOptions]:
        found: dict[str, Any] = {"installed_at": f"{self.folder}/ruby/*"}
        if listing:
            found = {"list_command": ("sh", "-c", listing)}
        command = ("sh", "-c", install, "sh", "{version}") if install else ()
        return {"ruby": ToolchainOptions(".ruby-version", install_command=command, **found)}

    def run(self, test: Callable[[Toolchains], Coroutine[Any, Any, None]], **options: str) -> None:
        async def main() -> None:
            commands = ToolCommands(self.groups, "w1", self.folder / "home")
            made = Toolchains(self.options(**options), commands)
            try:
                async with asyncio.timeout(LIMIT):
                    await test(made)
            finally:
                await made.close()

        asyncio.run(main())

    async def rejection(self, made: Toolchains) -> str:
        with pytest.raises(Reject) as rejected:
            await made.require(self.folder / "checkout")
        assert rejected.value.after > 0
        return rejected.value.message

    async def until_accepted(self, made: Toolchains) -> None:
        while True:
            try:
                return await made.require(self.folder / "checkout")
            except Reject:
                await asyncio.sleep(0.01)

    def log(self, version: str) -> Path:
        return self.folder / "home" / "toolchains" / f"ruby-{version}.log"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    groups = next(available_groups(owner_name("w1", tmp_path)))
    yield Bench(tmp_path, groups)
    groups.close()


@pytest.mark.parametrize("text", ["3.2.1\n", "\n# the newest\n  3.2.1  \r\nmore\n", None])
def test_a_version_that_is_there_or_not_asked_for_goes_on(bench: Bench, text: str | None) -> None:
    bench.have("3.2.1")
    if text is not None:
        bench.ask(text)
    bench.run(lambda made: made.require(bench.folder / "checkout"))


def test_versions_may_be_listed_by_a_command(bench: Bench) -> None:
    bench.ask("3.2.1")

    async def test(made: Toolchains) -> None:
        await made.require(bench.folder / "checkout")
        bench.ask("3.2")
        assert "(it has 3.1.0, 3.2.1)" in await bench.rejection(made)

    bench.run(test, listing="echo 3.1.0; echo ' 3.2.1 '; echo '* not a version'")


def test_without_an_installer_the_words_say_what_there_is(bench: Bench) -> None:
    bench.ask("3.4")
    bench.have("3.1", "3.2")

    async def test(made: Toolchains) -> None:
        expected = "this worker has no ruby 3.4, which .ruby-version asks for (it has 3.1, 3.2)"
        assert await bench.rejection(made) == expected

    bench.run(test)


def test_a_missing_version_is_installed_while_runs_are_handed_back(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.ask("3.4")
    os.mkfifo(bench.folder / "go")

    async def test(made: Toolchains) -> None:
        assert (await bench.rejection(made)).endswith("asks for: its installation has begun")
        assert (await bench.rejection(made)).endswith("asks for: it is being installed")
        bench.ask("3.5")
        assert (await bench.rejection(made)).endswith("asks for: it waits until ruby 3.4 has been installed")
        bench.ask("3.4")
        await asyncio.to_thread((bench.folder / "go").write_text, "")
        await bench.until_accepted(made)

    bench.run(test, install=f'read x <{bench.folder}/go; echo "gets $1"; mkdir {bench.folder}/ruby/$1')
    assert bench.log("3.4").read_text() == "gets 3.4\n"
    assert bench.log("3.4").stat().st_mode & 0o777 == 0o600
    assert "installing ruby 3.4" in caplog.text


def test_an_installation_that_fails_is_told_and_not_tried_by_the_next_run(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.ask("3.4")

    async def test(made: Toolchains) -> None:
        words = await bench.rejection(made)
        while "could not be installed" not in words:
            words = await bench.rejection(made)
        assert words.endswith(f"it could not be installed: see {bench.log('3.4')}")
        monkeypatch.setattr(installer, "TRY_AGAIN", 0.0)
        made._installer._failed.clear()
        assert "has begun" in await bench.rejection(made)

    bench.run(test, install="echo no network; exit 3")
    assert "ruby 3.4 could not be installed: the command has ended with 3" in caplog.text
    assert bench.log("3.4").read_text() in {"", "no network\n"}


def test_the_end_of_the_worker_ends_an_installation_with_all_its_processes(bench: Bench) -> None:
    bench.ask("3.4")
    token = "1" + str(int.from_bytes(os.urandom(3)))

    async def test(made: Toolchains) -> None:
        await bench.rejection(made)
        await asyncio.to_thread(lambda: soon(lambda: sleepers(token) == 2, LIMIT))
        assert sleepers(token) == 2

    bench.run(test, install=f"setsid sleep {token} & sleep {token}")
    assert sleepers(token) == 0


def test_a_listing_that_hangs_or_fails_is_an_error_of_the_machine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.ask("3.4")
    token = "1" + str(int.from_bytes(os.urandom(3)))
    cases = [(f"sleep {token}", 0.2, "not listed within 0.2 s"), ("exit 7", 60.0, "ended with 7")]
    for listing, limit, problem in cases:
        monkeypatch.setattr(toolchains, "LIST_LIMIT", limit)

        async def test(made: Toolchains, problem: str = problem) -> None:
            with pytest.raises(TaskFailedInternally, match=problem):
                await made.require(bench.folder / "checkout")

        bench.run(test, listing=listing)
    assert sleepers(token) == 0


@pytest.mark.parametrize("text", ["", "--help", "3.4; rm -rf /", "../../etc", "ü", "3" * 65, "\0"])
def test_what_is_no_version_fails_the_run(bench: Bench, text: str) -> None:
    bench.ask(text)

    async def test(made: Toolchains) -> None:
        with pytest.raises(TaskFailed, match=r"\.ruby-version of the source names no version") as failed:
            await made.require(bench.folder / "checkout")
        assert failed.value.reason == "toolchain-unknown"

    bench.run(test)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_only_a_plain_file_of_the_checkout_is_read(bench: Bench, kind: str) -> None:
    path = bench.folder / "checkout" / ".ruby-version"
    (bench.folder / "secret").write_text("3.1")
    {"link": lambda: path.symlink_to(bench.folder / "secret"), "fifo": lambda: os.mkfifo(path), "folder": path.mkdir}[
        kind
    ]()

    async def test(made: Toolchains) -> None:
        with pytest.raises(TaskFailed):
            await made.require(bench.folder / "checkout")

    bench.run(test)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"file": ".v"}, "toolchains.x: needs `installed_at` or `list_command`, and not both"),
        ({"file": ".v", "installed_at": "/a/*", "list_command": ["a"]}, "and not both"),
    ],
)
def test_a_table_needs_one_way_to_find_versions(table: dict[str, Any], complaint: str) -> None:
    options = decode(ProcessOptions, {"toolchains": {"x": table}})
    assert complaint in "\n".join(map(str, ProcessPlatform.check_options(options)))


@pytest.mark.parametrize(
    "table",
    [{"file": "a/b"}, {"file": ".."}, {"file": ".v", "installed_at": "/a"}, {"file": ".v", "installed_at": "*"}],
)
def test_a_wrong_field_of_a_table_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"toolchains\.x\.(file|installed_at)"):
        decode(ProcessOptions, {"toolchains": {"x": table}})


def sleepers(token: str) -> int:
    """How many processes sleep for this number of seconds."""
    return sum(process.info["cmdline"] == ["sleep", token] for process in psutil.process_iter(["cmdline"]))
