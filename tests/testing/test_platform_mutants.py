"""The tests of platforms can fail: a fake with one fault is caught by the test that is for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from taskrunner.errors import Bug, TaskFailed, TaskFailedInternally
from taskrunner.interfaces.attachments import ProxyHandler, Service
from taskrunner.interfaces.platform import RunContext
from taskrunner.interfaces.results import Entry, Results
from taskrunner.model import Health
from taskrunner.testing.conformance.platform.harness import Option
from taskrunner.testing.fakes.exec import FakeExec
from taskrunner.testing.fakes.execution import FakeExecution
from taskrunner.testing.fakes.fetching import FAILING
from taskrunner.testing.fakes.payload import FakePayload
from taskrunner.testing.fakes.platform import FakeEngine, FakePlatform
from taskrunner.testing.fakes.results import FakeResults
from taskrunner.testing.fakes.run import FakeInput, FakeRun
from tests.support.mutants import Mutant, assert_caught, failures, name_of
from tests.testing.test_fake_platform_conformance import TestFakePlatform as PlatformTests

resolve, process, files_of = FakeResults._resolve, FakeRun._process, FakeResults.archive_folder
start, end, kill, results_of = FakeEngine.start, FakeRun.end, FakeExecution.kill, FakeExecution._results
shared_env: dict[str, str] = {}


def fresh_results(self: FakeExecution) -> Results:
    return FakeResults(self.run, self.process.result() if not self.process.cancelled() else 137)


async def kill_that_loses_files(self: FakeExecution) -> Results:
    self.run.files.clear()
    return await kill(self)


async def kill_that_kills_nothing(self: FakeExecution) -> Results:
    return FakeResults(self.run, 137)


async def kill_that_forgets_the_end(self: FakeExecution) -> Results:
    self.run.results = None
    return await kill(self)


async def wait_whose_cancellation_ends_the_run(self: FakeExecution) -> Results:
    await self.process
    return self._results()


async def abort_that_keeps_results(self: FakeExecution) -> None:
    await self.run.end()


async def abort_once(self: FakeExecution) -> None:
    if self.run not in self.run.backend.held:
        raise TaskFailedInternally("gone already")
    await abort(self)


abort = FakeExecution.abort


async def discard_once(self: FakeEngine) -> None:
    if self.run not in self.run.backend.held:
        raise Bug("discarded already")
    self.run.backend.held.pop(self.run)


async def nothing(*_: object, **__: object) -> None:
    return None


async def start_in_a_shared_environment(self: FakeEngine, env: dict[str, str], *, stdin: bool = False) -> FakeExecution:
    shared_env.update(env)
    return await start(self, shared_env, stdin=stdin)


async def start_without_environment(self: FakeEngine, env: dict[str, str], *, stdin: bool = False) -> FakeExecution:
    return await start(self, {}, stdin=stdin)


async def load_with_another_error(self: FakeEngine, payload: FakePayload) -> None:
    raise KeyError("image")


async def short_process(self: FakeRun) -> int:
    self.script = attrs.evolve(self.script, log=self.script.log[:4000])
    return await process(self)


async def process_with_exit_code_0(self: FakeRun) -> int:
    await process(self)
    return 0


async def process_that_ignores_its_input(self: FakeRun) -> int:
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


async def archive_not_written_yet(self: FakeResults, path: str = ".") -> Entry:
    raise NotImplementedError


async def deliver_a_path(self: FakeResults) -> dict[str, object]:
    return {"image": Path("/image")}


async def dispose_once(self: FakeResults) -> None:
    if self.run.backend.held.pop(self.run, None) is None:
        raise TaskFailedInternally("gone already")


async def end_but_for_execs(self: FakeRun) -> None:
    self.execs.clear()
    await end(self)


async def write_without_a_reader(self: FakeInput, data: bytes) -> None:
    self.chunks.put_nowait(data)


def cache_that_is_always_writable(self: FakeRun, path: str) -> tuple[Path | None, bool]:
    return cached(self, path)[0], False


cached = FakeRun._cached


async def attach_anywhere(self: FakeEngine, folder: Any, target: str, *, read_only: bool = False) -> None:
    self.run.caches[target] = (folder, read_only)


async def mount_anywhere(self: FakeEngine, path: Path, target: str) -> None:
    self.run.mounts[target] = path


async def attach_a_proxy_of_any_name(self: FakeEngine, name: str, handler: ProxyHandler) -> None:
    self.run.proxies[name] = handler


async def attach_one_proxy_for_all(self: FakeEngine, name: str, handler: ProxyHandler) -> None:
    await attach_proxy(self, name, shared_handlers.setdefault(name, handler))


async def attach_a_service_of_any_name(self: FakeEngine, name: str, service: Service) -> None:
    if service.image == FAILING:
        raise TaskFailed("service-failed", "as the script says")
    self.run.services[name] = service


async def attach_a_service_without_waiting(self: FakeEngine, name: str, service: Service) -> None:
    await attach_service(self, name, attrs.evolve(service, image="fake"))


attach_proxy, attach_service = FakeEngine.attach_proxy, FakeEngine.attach_service
shared_handlers: dict[str, ProxyHandler] = {}


async def clean_up_that_always_finds_something(self: FakePlatform, worker_id: str) -> list[str]:
    return [f"looked for {worker_id}"]


async def clean_up_that_does_nothing(self: FakePlatform, worker_id: str) -> list[str]:
    return []


async def health_that_raises(self: FakePlatform) -> Health:
    raise ConnectionError("no daemon")


async def recover_with_another_error(
    self: FakePlatform, handle: str, context: RunContext, log_offset: int
) -> FakeExecution:
    raise LookupError(handle)


async def recover_that_finds_nothing(
    self: FakePlatform, handle: str, context: RunContext, log_offset: int
) -> FakeExecution:
    raise TaskFailed("lost", "never found")


async def exec_after_the_end(self: FakeExecution, command: list[str], **options: Any) -> FakeExec:
    return FakeExec(self.run, command, **{"tty": None, "env": {}, "cwd": "", **options})


async def exec_in_its_own_environment(self: FakeExecution, command: list[str], **options: Any) -> FakeExec:
    return FakeExec(self.run, command, **{"tty": None, "cwd": "", **options, "env": {}})


async def resize_anything(self: FakeExec, rows: int, columns: int) -> None:
    return None


PLATFORMS: list[Mutant] = [
    (FakeExecution, "_results", fresh_results, "test_every_wait_gives_the_same_results"),
    (FakeExecution, "kill", kill_that_loses_files, "test_a_kill_keeps_the_files_so_far"),
    (FakeExecution, "kill", kill_that_kills_nothing, "test_a_kill_keeps_the_files_so_far"),
    (FakeExecution, "kill", kill_that_forgets_the_end, "test_a_kill_after_the_end_gives_the_results_of_that_end"),
    (FakeExecution, "kill", kill_that_forgets_the_end, "test_a_kill_ends_every_wait"),
    (FakeExecution, "kill", wait_whose_cancellation_ends_the_run, "test_a_kill_right_after_the_start_ends_it"),
    (FakeExecution, "wait", wait_whose_cancellation_ends_the_run, "test_a_wait_that_is_cancelled_does_not_end_the_run"),
    (FakeExecution, "abort", abort_that_keeps_results, "test_after_an_abort_there_are_no_results"),
    (FakeExecution, "abort", abort_once, "test_after_an_abort_there_are_no_results"),
    (FakeExecution, "abort", abort_once, "test_a_run_that_has_ended_can_be_aborted"),
    (FakeExecution, "new_exec", exec_after_the_end, "test_a_command_ends_with_its_run"),
    (FakeExecution, "new_exec", exec_in_its_own_environment, "test_a_command_has_more_variables_than_its_run"),
    (FakeEngine, "discard", discard_once, "test_an_engine_before_load_is_discarded"),
    (FakeEngine, "discard", discard_once, "test_an_engine_after_load_is_discarded"),
    (FakeEngine, "discard", nothing, "test_a_load_that_is_cancelled_is_undone"),
    (FakeEngine, "start", start_in_a_shared_environment, "test_a_run_does_not_see_the_environment_of_another"),
    (FakeEngine, "start", start_without_environment, "test_the_environment_reaches_the_run"),
    (FakeEngine, "load", load_with_another_error, "test_the_exit_code_is_reported"),
    (FakeEngine, "attach_cache", nothing, "test_a_cache_outlives_its_run"),
    (FakeEngine, "attach_cache", attach_anywhere, "test_a_target_is_used_once_and_lies_inside"),
    (FakeEngine, "attach_mount", nothing, "test_a_run_reads_what_it_has_mounted"),
    (FakeEngine, "attach_mount", mount_anywhere, "test_a_mount_has_a_place_of_its_own"),
    (FakeEngine, "attach_proxy", nothing, "test_a_run_reaches_its_proxies"),
    (FakeEngine, "attach_proxy", attach_a_proxy_of_any_name, "test_a_proxy_has_a_host_name_of_its_own"),
    (FakeEngine, "attach_proxy", attach_one_proxy_for_all, "test_two_runs_have_their_own_proxies"),
    (FakeEngine, "attach_service", nothing, "test_a_run_reaches_its_service"),
    (FakeEngine, "attach_service", attach_a_service_of_any_name, "test_a_service_has_a_host_name_of_its_own"),
    (FakeEngine, "attach_service", attach_a_service_without_waiting, "test_a_service_that_is_not_ready_fails_its_run"),
    (FakeRun, "_cached", cache_that_is_always_writable, "test_a_read_only_cache_is_not_changed"),
    (FakeRun, "_process", short_process, "test_the_log_is_whole_and_in_order_at_the_end_of_wait"),
    (FakeRun, "_process", process_with_exit_code_0, "test_two_runs_at_once_do_not_disturb_each_other"),
    (FakeRun, "_process", process_that_ignores_its_input, "test_an_input_stays_open_until_it_is_closed"),
    (FakeRun, "starved", False, "test_a_run_is_kept_to_its_memory"),
    (FakeRun, "starved", True, "test_a_run_within_its_limits_ends_as_any_other"),
    (FakeRun, "end", end_but_for_execs, "test_a_command_ends_with_its_run"),
    (FakeInput, "write", write_without_a_reader, "test_an_input_stays_open_until_it_is_closed"),
    (FakeExec, "resize", resize_anything, "test_only_a_terminal_has_a_size"),
    (FakeExec, "abort", nothing, "test_a_command_is_aborted_and_the_run_goes_on"),
    (FakeResults, "_resolve", follow_every_link, "test_a_link_out_of_the_folder_is_not_followed"),
    (FakeResults, "archive_file", file_or_key_error, "test_a_path_that_is_no_file_has_an_error_of_its_own"),
    (FakeResults, "archive_folder", folder_backwards, "test_a_folder_is_archived_in_the_order_of_its_names"),
    (FakeResults, "archive", archive_not_written_yet, "test_everything_is_archived_as_one_tar_stream"),
    (FakeResults, "deliver", deliver_a_path, "test_the_result_of_deliver_is_json"),
    (FakeResults, "dispose", dispose_once, "test_results_are_disposed_of_once_or_twice"),
    (FakeResults, "dispose", nothing, "test_results_are_disposed_of_once_or_twice"),
    (FakePlatform, "clean_up_after", clean_up_that_always_finds_something, "test_an_unknown_worker_has_left_nothing"),
    (FakePlatform, "clean_up_after", clean_up_that_does_nothing, "test_what_a_dead_worker_left_is_found_once"),
    (FakePlatform, "recover", recover_with_another_error, "test_a_run_that_has_ended_is_not_recovered"),
    (FakePlatform, "recover", recover_that_finds_nothing, "test_a_run_is_recovered"),
    (FakePlatform, "name", "two words", "test_it_says_what_it_is"),
    (FakePlatform, "payload", dict, "test_it_says_what_it_is"),
]


@pytest.mark.parametrize("mutant", PLATFORMS, ids=name_of)
def test_a_faulty_platform_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert_caught(PlatformTests, mutant, monkeypatch, tmp_path)


def test_health_that_raises_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("taskrunner.testing.fakes.platform._Plugged.health", health_that_raises)
    assert failures(PlatformTests, tmp_path) == {"test_its_health_is_an_answer"}


def test_a_platform_that_supports_more_than_it_says_is_caught(tmp_path: Path) -> None:
    class Modest(PlatformTests):
        supports = frozenset[Option]()

    assert failures(Modest, tmp_path) == {
        "test_a_cache_outlives_its_run",
        "test_a_mount_that_is_left_out_is_not_supported",
        "test_a_command_prints_and_ends",
        "test_a_run_is_recovered",
        "test_an_input_stays_open_until_it_is_closed",
        "test_everything_is_archived_as_one_tar_stream",
        "test_an_attachment_that_is_left_out_is_not_supported",
    }


def test_without_a_fault_nothing_is_caught(tmp_path: Path) -> None:
    assert failures(PlatformTests, tmp_path) == set()
