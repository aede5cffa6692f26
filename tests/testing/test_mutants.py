"""The contracts can fail: a fake with one deliberate fault is caught by the test that is there for it."""

from __future__ import annotations

import asyncio
import fnmatch
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from taskrunner.errors import Bug, TaskFailed, TaskFailedInternally
from taskrunner.interfaces.host import Leave
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.results import Entry, Results
from taskrunner.log.masking import Masker
from taskrunner.model import Health
from taskrunner.testing.conformance.platform_bench import Option
from taskrunner.testing.fakes.caches import FakeCacheFolder, FakeCaches, FakeLease
from taskrunner.testing.fakes.exec import FakeExec
from taskrunner.testing.fakes.execution import FakeExecution
from taskrunner.testing.fakes.host import FakeHost
from taskrunner.testing.fakes.memory import MemoryLog
from taskrunner.testing.fakes.platform import FakeEngine, FakePlatform
from taskrunner.testing.fakes.results import FakeResults
from taskrunner.testing.fakes.run import FakeInput, FakeRun
from tests.testing.test_fake_platform_conformance import TestFakePlatform as PlatformTests
from tests.testing.test_fakes_conformance import TestFakeCacheFolder as CacheFolderTests
from tests.testing.test_fakes_conformance import TestFakeCaches as CachesTests
from tests.testing.test_fakes_conformance import TestFakeHost as HostTests
from tests.testing.test_fakes_conformance import TestMemoryLog as LogTests

Mutant = tuple[type, str, Any, str]
"""A class, its member, what is there instead, and a test that has to fail."""


def failures(tests: type, folder: Path, pattern: str = "test_*") -> set[str]:
    """The tests of a class that fail, run one after the other as pytest does."""
    return {name for name in fnmatch.filter(dir(tests), pattern) if fails(tests(), name, folder / name)}


def fails(case: Any, name: str, folder: Path) -> bool:
    getattr(case, "setup_method", lambda: None)()
    folder.mkdir()
    method = getattr(case, name)
    try:
        method(*[folder] * (method.__code__.co_argcount - 1))
    except (Exception, pytest.fail.Exception, asyncio.CancelledError):  # noqa: BLE001  any failure is one
        return True
    return False


def check(tests: type, mutant: Mutant, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    target, member, fault, caught_by = mutant
    monkeypatch.setattr(target, member, fault)
    assert failures(tests, folder, caught_by)


def name_of(mutant: Mutant) -> str:
    return f"{mutant[0].__name__}.{mutant[1]}-{mutant[3]}"


# ---- platforms ------------------------------------------------------------------------------------------

resolve, process, files_of = FakeResults._resolve, FakeRun._process, FakeResults.archive_folder
start, end, kill, results_of = FakeEngine.start, FakeRun.end, FakeExecution.kill, FakeExecution._results
everybodys_env: dict[str, str] = {}


def fresh_results(self: FakeExecution) -> Results:
    return FakeResults(self.run, self.process.result() if not self.process.cancelled() else 137)


async def kill_that_loses(self: FakeExecution) -> Results:
    self.run.files.clear()
    return await kill(self)


async def kill_that_spares(self: FakeExecution) -> Results:
    return FakeResults(self.run, 137)


async def kill_that_forgets_the_end(self: FakeExecution) -> Results:
    self.run.results = None
    return await kill(self)


async def wait_that_is_the_run(self: FakeExecution) -> Results:
    await self.process
    return self._results()


async def abort_that_keeps(self: FakeExecution) -> None:
    await self.run.end()


async def abort_once(self: FakeExecution) -> None:
    if self.run not in self.run.world.held:
        raise TaskFailedInternally("gone already")
    await abort(self)


abort = FakeExecution.abort


async def discard_once(self: FakeEngine) -> None:
    if self.run not in self.run.world.held:
        raise Bug("discarded already")
    self.run.world.held.pop(self.run)


async def nothing(*_: object, **__: object) -> None:
    return None


async def start_in_a_shared_environment(self: FakeEngine, env: dict[str, str], *, stdin: bool = False) -> FakeExecution:
    everybodys_env.update(env)
    return await start(self, everybodys_env, stdin=stdin)


async def start_without_environment(self: FakeEngine, env: dict[str, str], *, stdin: bool = False) -> FakeExecution:
    return await start(self, {}, stdin=stdin)


async def load_that_gives_up(self: FakeEngine, payload: object) -> None:
    raise KeyError("image")


async def short_process(self: FakeRun) -> int:
    self.script = attrs.evolve(self.script, log=self.script.log[:4000])
    return await process(self)


async def good_process(self: FakeRun) -> int:
    await process(self)
    return 0


async def process_without_input(self: FakeRun) -> int:
    self.script = attrs.evolve(self.script, print_stdin=False)
    return await process(self)


def follow_every_link(self: FakeResults, path: str) -> str:
    name = resolve(self, path) if path not in self.run.script.links else path
    self.run.files.setdefault(name, b"root:x:0:0")
    return name


async def file_or_key_error(self: FakeResults, path: str) -> Entry:
    return self._entry(path, next(name for name in [path] if self.run.files[name] is not None))


async def folder_backwards(self: FakeResults, path: str) -> AsyncIterator[Entry]:
    for entry in reversed([entry async for entry in files_of(self, path)]):
        yield entry


async def archive_not_written_yet(self: FakeResults) -> AsyncIterator[bytes]:
    raise NotImplementedError
    yield b""


async def deliver_a_path(self: FakeResults) -> dict[str, object]:
    return {"image": Path("/image")}


async def dispose_once(self: FakeResults) -> None:
    if self.run.world.held.pop(self.run, None) is None:
        raise TaskFailedInternally("gone already")


async def end_but_for_execs(self: FakeRun) -> None:
    self.execs.clear()
    await end(self)


async def write_to_nobody(self: FakeInput, data: bytes) -> None:
    self.chunks.put_nowait(data)


def cached_for_all(self: FakeRun, path: str) -> tuple[Path | None, bool]:
    return cached(self, path)[0], False


cached = FakeRun._cached


async def attach_anywhere(self: FakeEngine, folder: Any, target: str, *, read_only: bool = False) -> None:
    self.run.caches[target] = (folder, read_only)


async def always_something(self: FakePlatform, worker_id: str) -> list[str]:
    return [f"looked for {worker_id}"]


async def clean_nothing(self: FakePlatform, worker_id: str) -> list[str]:
    return []


async def sick(self: FakePlatform) -> Health:
    raise ConnectionError("no daemon")


async def recover_by_chance(self: FakePlatform, handle: str) -> FakeExecution:
    raise LookupError(handle)


async def recover_nothing(self: FakePlatform, handle: str) -> FakeExecution:
    raise TaskFailed("lost", "never found")


async def exec_of_the_dead(self: FakeExecution, command: list[str], *, tty: bool = False) -> FakeExec:
    return FakeExec(self.run, command, tty=tty)


async def resize_anything(self: FakeExec, rows: int, columns: int) -> None:
    return None


PLATFORMS: list[Mutant] = [
    (FakeExecution, "_results", fresh_results, "test_every_wait_gives_the_same_results"),
    (FakeExecution, "kill", kill_that_loses, "test_a_kill_keeps_what_was_made"),
    (FakeExecution, "kill", kill_that_spares, "test_a_kill_keeps_what_was_made"),
    (FakeExecution, "kill", kill_that_forgets_the_end, "test_a_kill_after_the_end_gives_the_results_of_that_end"),
    (FakeExecution, "kill", kill_that_forgets_the_end, "test_a_kill_ends_every_wait"),
    (FakeExecution, "kill", wait_that_is_the_run, "test_a_kill_right_after_the_start_ends_it"),
    (FakeExecution, "wait", wait_that_is_the_run, "test_a_wait_that_is_cancelled_does_not_end_the_run"),
    (FakeExecution, "abort", abort_that_keeps, "test_after_an_abort_there_are_no_results"),
    (FakeExecution, "abort", abort_once, "test_after_an_abort_there_are_no_results"),
    (FakeExecution, "abort", abort_once, "test_a_run_that_has_ended_can_be_aborted"),
    (FakeExecution, "new_exec", exec_of_the_dead, "test_a_command_ends_with_its_run"),
    (FakeEngine, "discard", discard_once, "test_an_engine_that_has_nothing_is_discarded"),
    (FakeEngine, "discard", discard_once, "test_an_engine_that_has_loaded_is_discarded"),
    (FakeEngine, "discard", nothing, "test_a_load_that_is_cancelled_is_undone"),
    (FakeEngine, "start", start_in_a_shared_environment, "test_a_run_does_not_see_the_environment_of_another"),
    (FakeEngine, "start", start_without_environment, "test_the_environment_reaches_the_run"),
    (FakeEngine, "load", load_that_gives_up, "test_the_exit_code_comes_out"),
    (FakeEngine, "attach_cache", nothing, "test_a_cache_outlives_its_run"),
    (FakeEngine, "attach_cache", attach_anywhere, "test_a_target_is_taken_once_and_stays_inside"),
    (FakeRun, "_cached", cached_for_all, "test_a_read_only_cache_is_never_written"),
    (FakeRun, "_process", short_process, "test_the_log_is_whole_and_in_order_at_the_end_of_wait"),
    (FakeRun, "_process", good_process, "test_two_runs_at_once_do_not_disturb_each_other"),
    (FakeRun, "_process", process_without_input, "test_an_input_stays_open_until_it_is_closed"),
    (FakeRun, "end", end_but_for_execs, "test_a_command_ends_with_its_run"),
    (FakeInput, "write", write_to_nobody, "test_an_input_stays_open_until_it_is_closed"),
    (FakeExec, "resize", resize_anything, "test_only_a_terminal_has_a_size"),
    (FakeExec, "abort", nothing, "test_a_command_is_aborted_and_the_run_goes_on"),
    (FakeResults, "_resolve", follow_every_link, "test_a_link_that_leaves_is_not_followed"),
    (FakeResults, "archive_file", file_or_key_error, "test_a_file_that_is_none_is_named_as_what_it_is"),
    (FakeResults, "archive_folder", folder_backwards, "test_a_folder_comes_out_in_the_order_of_its_names"),
    (FakeResults, "archive", archive_not_written_yet, "test_everything_as_one_tar_stream"),
    (FakeResults, "deliver", deliver_a_path, "test_what_is_delivered_is_json"),
    (FakeResults, "dispose", dispose_once, "test_results_are_disposed_of_once_or_twice"),
    (FakeResults, "dispose", nothing, "test_results_are_disposed_of_once_or_twice"),
    (FakePlatform, "clean_up_after", always_something, "test_an_unknown_worker_has_left_nothing"),
    (FakePlatform, "clean_up_after", clean_nothing, "test_what_a_dead_worker_left_is_found_once"),
    (FakePlatform, "recover", recover_by_chance, "test_a_run_that_is_gone_is_lost"),
    (FakePlatform, "recover", recover_nothing, "test_a_run_is_found_again"),
    (FakePlatform, "name", "two words", "test_it_says_what_it_is"),
    (FakePlatform, "payload", dict, "test_it_says_what_it_is"),
]


@pytest.mark.parametrize("mutant", PLATFORMS, ids=name_of)
def test_a_faulty_platform_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check(PlatformTests, mutant, monkeypatch, tmp_path)


def test_health_that_raises_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("taskrunner.testing.fakes.platform._Plugged.health", sick)
    assert failures(PlatformTests, tmp_path) == {"test_its_health_is_an_answer"}


def test_what_a_platform_hides_is_caught(tmp_path: Path) -> None:
    class Modest(PlatformTests):
        supports = frozenset[Option]()

    assert failures(Modest, tmp_path) == {
        "test_a_cache_outlives_its_run",
        "test_a_command_prints_and_ends",
        "test_a_run_is_found_again",
        "test_an_input_stays_open_until_it_is_closed",
        "test_everything_as_one_tar_stream",
        "test_what_cannot_be_attached_is_not_supported",
    }


# ---- logs, hosts, caches --------------------------------------------------------------------------------


def write_masked_at_once(self: MemoryLog, data: bytes) -> None:
    self._raw += self._masker.whole(data)


def mask_the_plain_text_only(self: MemoryLog, secret: str) -> None:
    self._masker._index({secret.encode() or b"plain"})


def write_text(self: MemoryLog, data: bytes) -> None:
    self._raw += data.decode(errors="replace").encode()


def write_always(self: MemoryLog, data: bytes) -> None:
    self._raw += data


def say_plainly(self: MemoryLog, text: str) -> None:
    self.write(text.encode() + b"\n")


def mask_beginnings(self: Masker, text: bytes) -> bytes:
    return whole(self, text).replace(b"s3cr3t", b"***")


whole = Masker.whole

LOGS: list[Mutant] = [
    (MemoryLog, "mask", lambda *_: None, "test_a_secret_never_shows"),
    (MemoryLog, "mask", mask_the_plain_text_only, "test_a_secret_never_shows"),
    (MemoryLog, "mask", mask_the_plain_text_only, "test_an_empty_secret_hides_nothing"),
    (MemoryLog, "write", write_text, "test_what_a_task_writes_stays_as_it_is"),
    (MemoryLog, "write", write_always, "test_after_the_end_writes_go_nowhere"),
    (MemoryLog, "say", say_plainly, "test_a_line_of_the_workers_own_is_marked"),
    (Masker, "whole", mask_beginnings, "test_the_beginning_of_a_secret_is_not_swallowed"),
    (Masker, "whole", lambda _, text: text[:1000], "test_threads_may_write_at_once"),
]


@pytest.mark.parametrize("mutant", LOGS, ids=name_of)
def test_a_faulty_log_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check(LogTests, mutant, monkeypatch, tmp_path)


def test_a_log_that_masks_call_by_call_is_caught(tmp_path: Path) -> None:
    class Hasty(MemoryLog):
        def write(self, data: bytes) -> None:
            self._raw += self._masker.whole(data)

        @property
        def data(self) -> bytes:
            return bytes(self._raw)

    class HastyTests(LogTests):
        def log(self, folder: Path) -> Log:
            return Hasty()

        def contents(self, log: Log) -> bytes:
            assert isinstance(log, Hasty)
            return log.data

    assert "test_a_secret_is_found_across_the_borders_of_calls" in failures(HastyTests, tmp_path)


async def ask_and_forget(self: FakeHost) -> Leave:
    try:
        return await self._notices.get()
    except asyncio.CancelledError:
        self._notices = asyncio.Queue()
        raise


async def leave_at_once(self: FakeHost) -> Leave:
    return Leave(immediate=False, why="")


HOSTS: list[Mutant] = [
    (FakeHost, "shutting_down", ask_and_forget, "test_cancelling_loses_no_notice"),
    (FakeHost, "shutting_down", leave_at_once, "test_without_a_notice_the_worker_stays"),
    (FakeHost, "shutting_down", leave_at_once, "test_a_notice_comes"),
    (FakeHost, "should_shutdown_now", lambda _: True, "test_without_a_notice_the_worker_stays"),
    (FakeHost, "identity", {"name": "x"}, "test_it_says_who_it_is"),
    (FakeHost, "load_config", lambda _: None, "test_it_has_a_configuration"),
]


@pytest.mark.parametrize("mutant", HOSTS, ids=name_of)
def test_a_faulty_host_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("taskrunner.testing.conformance.host.LIMIT", 0.2)  # real seconds: a lost notice never comes
    check(HostTests, mutant, monkeypatch, tmp_path)


def lease_that_ends_often(how: str) -> Callable[[FakeLease], Awaitable[None]]:
    async def end_again(self: FakeLease) -> None:
        self.ended = ""
        await self._end(how)

    return end_again


given_back = FakeCaches.given_back


async def give_back_to_the_end(self: FakeCaches, lease: FakeLease) -> None:
    await given_back(self, lease)
    self._copies.sort(key=lambda folder: folder is lease.folder)


async def delete_under_readers(self: FakeCaches, lease: FakeLease) -> None:
    await given_back(self, lease)
    if lease.ended == "discarded":
        await lease.folder.delete()


CACHES: list[Mutant] = [
    (FakeLease, "discard", lease_that_ends_often("discarded"), "test_a_lease_ends_once"),
    (FakeLease, "discard", FakeLease.commit, "test_what_is_discarded_is_gone"),
    (FakeLease, "commit", FakeLease.discard, "test_what_is_committed_comes_back"),
    (FakeCaches, "_is_free", lambda *_, **__: True, "test_two_exclusive_ones_are_two_folders"),
    (FakeCaches, "_is_free", lambda *_, **__: True, "test_readers_share_one_folder_and_a_writer_gets_another"),
    (FakeCaches, "given_back", give_back_to_the_end, "test_the_most_recently_used_copy_goes_first"),
    (FakeCaches, "given_back", delete_under_readers, "test_a_discarded_folder_stays_for_those_who_read_it"),
]


@pytest.mark.parametrize("mutant", CACHES, ids=name_of)
def test_faulty_caches_are_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check(CachesTests, mutant, monkeypatch, tmp_path)


def test_caches_that_take_any_name_are_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("taskrunner.testing.fakes.caches.NAME", re.compile(r".*", re.DOTALL))
    assert {"test_a_bad_name_is_refused"} <= failures(CachesTests, tmp_path)


async def delete_what_links_point_to(self: FakeCacheFolder) -> None:
    for link in [path for path in self.path.iterdir() if path.is_symlink()]:
        for file in link.iterdir():
            file.unlink()
    await delete(self)


delete = FakeCacheFolder.delete


async def no_size(self: FakeCacheFolder) -> int:
    return 0


FOLDERS: list[Mutant] = [
    (FakeCacheFolder, "delete", delete_what_links_point_to, "test_a_link_to_somewhere_else_is_deleted_as_a_link"),
    (FakeCacheFolder, "delete", nothing, "test_it_is_gone_once_deleted"),
    (FakeCacheFolder, "size", no_size, "test_its_size_is_that_of_its_files_or_a_little_more"),
]


@pytest.mark.parametrize("mutant", FOLDERS, ids=name_of)
def test_a_faulty_cache_folder_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check(CacheFolderTests, mutant, monkeypatch, tmp_path)


@pytest.mark.parametrize("tests", [PlatformTests, LogTests, HostTests, CachesTests, CacheFolderTests])
def test_without_a_fault_nothing_is_caught(tests: type, tmp_path: Path) -> None:
    assert failures(tests, tmp_path) == set()
