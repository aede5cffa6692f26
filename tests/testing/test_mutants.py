"""The tests of logs, hosts and caches can fail: a fake with one fault is caught by the test that is for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from taskrunner.interfaces.caches import CacheUsage
from taskrunner.interfaces.host import Leave
from taskrunner.interfaces.log import LogStream
from taskrunner.log.masking import Masker
from taskrunner.testing.fakes.caches import FakeCacheFolder, FakeCaches, FakeLease
from taskrunner.testing.fakes.host import FakeHost
from taskrunner.testing.fakes.log import MemoryLog
from tests.support.mutants import Mutant, assert_caught, failures, name_of
from tests.testing.test_fakes_conformance import TestFakeCacheFolder as CacheFolderTests
from tests.testing.test_fakes_conformance import TestFakeCaches as CachesTests
from tests.testing.test_fakes_conformance import TestFakeHost as HostTests
from tests.testing.test_fakes_conformance import TestMemoryLog as LogTests


def mask_the_plain_text_only(self: MemoryLog, secret: str) -> None:
    self._masker._index({secret.encode() or b"plain"})


def write_text(self: MemoryLog, data: bytes, stream: LogStream = "stdout") -> None:
    self._append(data.decode(errors="replace").encode(), stream)


def write_after_the_end(self: MemoryLog, data: bytes, stream: LogStream = "stdout") -> None:
    self._append(data, stream)


def write_to_stdout(self: MemoryLog, data: bytes, stream: LogStream = "stdout") -> None:
    write(self, data, "worker" if stream == "worker" else "stdout")


def write_without_a_default(self: MemoryLog, data: bytes, stream: LogStream = "both") -> None:
    write(self, data, stream)


@property
def stdout_first(self: MemoryLog) -> list[tuple[LogStream, bytes]]:
    pieces: list[tuple[LogStream, bytes]] = read_pieces(self)
    return sorted(pieces, key=lambda piece: piece[0] != "stdout")


def mask_all_as_one_stream(self: Masker, data: bytes, _: str = "") -> bytes:
    return feed(self, data)


def lose_lines(self: Masker, data: bytes, stream: str = "") -> bytes:
    return feed(self, data, stream)[:1000]


write, read_pieces, feed, flush = MemoryLog.write, vars(MemoryLog)["pieces"].fget, Masker.feed, Masker.flush


def say_without_a_mark(self: MemoryLog, text: str) -> None:
    self.write(text.encode() + b"\n")


def mask_beginnings(self: Masker, stream: str = "") -> bytes:
    return flush(self, stream).replace(b"s3cr3t", b"***")


LOGS: list[Mutant] = [
    (MemoryLog, "mask", lambda *_: None, "test_a_secret_never_shows"),
    (MemoryLog, "mask", mask_the_plain_text_only, "test_a_secret_never_shows"),
    (MemoryLog, "mask", mask_the_plain_text_only, "test_an_empty_secret_hides_nothing"),
    (MemoryLog, "write", write_text, "test_the_bytes_of_a_task_are_kept_as_they_are"),
    (MemoryLog, "write", write_after_the_end, "test_after_the_end_writes_go_nowhere"),
    (MemoryLog, "say", say_without_a_mark, "test_a_line_of_the_worker_is_marked"),
    (MemoryLog, "write", write_to_stdout, "test_each_piece_keeps_its_stream_and_its_place"),
    (MemoryLog, "write", write_without_a_default, "test_each_piece_keeps_its_stream_and_its_place"),
    (MemoryLog, "pieces", stdout_first, "test_each_piece_keeps_its_stream_and_its_place"),
    (Masker, "feed", mask_all_as_one_stream, "test_a_secret_is_masked_across_a_piece_of_another_stream"),
    (Masker, "flush", mask_beginnings, "test_the_beginning_of_a_secret_is_not_masked"),
    (Masker, "feed", lose_lines, "test_threads_may_write_at_the_same_time"),
]


@pytest.mark.parametrize("mutant", LOGS, ids=name_of)
def test_a_faulty_log_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert_caught(LogTests, mutant, monkeypatch, tmp_path)


def test_a_log_that_masks_call_by_call_is_caught(tmp_path: Path) -> None:
    class Hasty(MemoryLog):
        def write(self, data: bytes, stream: LogStream = "stdout") -> None:
            self._append(self._masker.whole(data), stream)

        @property
        def pieces(self) -> list[tuple[LogStream, bytes]]:
            return [(stream, bytes(data)) for stream, data in self._raw]

    class HastyTests(LogTests):
        def log(self, folder: Path) -> MemoryLog:
            return Hasty()

        def contents(self, log: MemoryLog) -> bytes:
            return log.data

    assert "test_a_secret_is_masked_across_the_borders_of_calls" in failures(HastyTests, tmp_path)


async def wait_that_loses_notices(self: FakeHost) -> Leave:
    try:
        return await self._notices.get()
    except asyncio.CancelledError:
        self._notices = asyncio.Queue()
        raise


async def notice_without_a_reason(self: FakeHost) -> Leave:
    return Leave(immediate=False, why="")


HOSTS: list[Mutant] = [
    (FakeHost, "shutting_down", wait_that_loses_notices, "test_cancelling_loses_no_notice"),
    (FakeHost, "shutting_down", notice_without_a_reason, "test_without_a_notice_the_worker_stays"),
    (FakeHost, "shutting_down", notice_without_a_reason, "test_a_notice_comes"),
    (FakeHost, "should_shutdown_now", lambda _: True, "test_without_a_notice_the_worker_stays"),
    (FakeHost, "identity", {"name": "x"}, "test_it_has_an_identity"),
    (FakeHost, "load_config", lambda _: None, "test_it_has_a_configuration"),
]


@pytest.mark.parametrize("mutant", HOSTS, ids=name_of)
def test_a_faulty_host_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(HostTests, "limit", 0.2)  # real seconds: a lost notice never comes
    assert_caught(HostTests, mutant, monkeypatch, tmp_path)


def lease_that_ends_twice(how: str) -> Callable[[FakeLease], Awaitable[None]]:
    async def end_again(self: FakeLease) -> None:
        self.ended = ""
        await self._end(how)

    return end_again


lease_ended = FakeCaches.lease_ended


async def release_to_the_end_of_the_list(self: FakeCaches, lease: FakeLease) -> None:
    await lease_ended(self, lease)
    self._copies.sort(key=lambda folder: folder is lease.folder)


async def delete_under_readers(self: FakeCaches, lease: FakeLease) -> None:
    await lease_ended(self, lease)
    if lease.ended == "discarded":
        await lease.folder.delete()


CACHES: list[Mutant] = [
    (FakeLease, "discard", lease_that_ends_twice("discarded"), "test_a_lease_ends_once"),
    (FakeLease, "discard", FakeLease.commit, "test_a_discarded_folder_is_deleted"),
    (FakeLease, "commit", FakeLease.discard, "test_a_committed_folder_is_leased_again"),
    (FakeCaches, "_is_free", lambda *_, **__: True, "test_two_exclusive_leases_have_two_folders"),
    (FakeCaches, "_is_free", lambda *_, **__: True, "test_readers_share_one_folder_and_a_writer_gets_another"),
    (FakeCaches, "lease_ended", release_to_the_end_of_the_list, "test_the_most_recently_used_copy_is_leased_first"),
    (FakeCaches, "lease_ended", delete_under_readers, "test_a_discarded_folder_stays_for_its_readers"),
]


@pytest.mark.parametrize("mutant", CACHES, ids=name_of)
def test_faulty_caches_are_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert_caught(CachesTests, mutant, monkeypatch, tmp_path)


def test_caches_that_take_any_name_are_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("taskrunner.testing.fakes.caches.NAME", re.compile(r".*", re.DOTALL))
    assert {"test_a_bad_name_is_refused"} <= failures(CachesTests, tmp_path)


async def delete_through_links(self: FakeCacheFolder) -> None:
    for link in [path for path in self.path.iterdir() if path.is_symlink()]:
        for file in link.iterdir():
            file.unlink()
    await delete(self)


delete = FakeCacheFolder.delete


async def no_usage(self: FakeCacheFolder) -> CacheUsage:
    return CacheUsage(0, 0)


async def nothing(*_: object) -> None:
    return None


FOLDERS: list[Mutant] = [
    (FakeCacheFolder, "delete", delete_through_links, "test_a_link_to_somewhere_else_is_deleted_as_a_link"),
    (FakeCacheFolder, "delete", nothing, "test_it_is_gone_once_deleted"),
    (FakeCacheFolder, "usage", no_usage, "test_its_size_is_that_of_its_files_or_a_little_more"),
]


@pytest.mark.parametrize("mutant", FOLDERS, ids=name_of)
def test_a_faulty_cache_folder_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert_caught(CacheFolderTests, mutant, monkeypatch, tmp_path)


@pytest.mark.parametrize("tests", [LogTests, HostTests, CachesTests, CacheFolderTests])
def test_without_a_fault_nothing_is_caught(tests: type, tmp_path: Path) -> None:
    assert failures(tests, tmp_path) == set()
