"""A disk that is full, read-only or over its quota: it is the machine's fault, and ends no task."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from taskrunner.errors import MachineFault, TaskFailedInternally, local_failure, machine_fault
from taskrunner.model import TaskStatus
from taskrunner.runs.machine_faults import PROBE
from taskrunner.state.journal_reader import notes, read_journal
from taskrunner.stores.folder import FolderStore
from taskrunner.testing import MemoryStore
from taskrunner.worker.stop_condition import StopCondition
from tests.support.faults import fill, small_disk
from tests.worker.conftest import World

Break = Callable[[Path], Callable[[], object]]
"""Breaks a disk. Returns what mends it."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB, on which nothing is yet."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(small_disk(path, 4 * PROBE), check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def make_full(disk: Path) -> Callable[[], object]:
    return fill(disk).unlink


def take_inodes(disk: Path) -> Callable[[], object]:
    subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes(disk)}", disk], check=True)
    return lambda: subprocess.run(["mount", "-o", "remount,nr_inodes=10000", disk], check=True)


def inodes(disk: Path) -> int:
    system = os.statvfs(disk)
    return system.f_files - system.f_ffree


def make_read_only(disk: Path) -> Callable[[], object]:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    return lambda: subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


BREAKS = pytest.mark.parametrize("damage", [make_full, take_inodes, make_read_only])


def run_through_fault(world: World, damage: Break, disk: Path, **document: Any) -> TaskStatus:
    """Runs a task whose disk is broken from its second second until the worker has stopped claiming."""
    seen: list[TaskStatus] = []

    async def scene() -> None:
        await world.submit("t", retries=3, run_for=10, files={"made": "x" * 9000}, **document)
        await asyncio.sleep(2)
        mend = damage(disk)
        try:
            await until(lambda: world.worker.load.fault)
            await world.submit("later")
            await asyncio.sleep(120)
            assert (await world.queue.status("later")).state == "pending", "it has claimed on a broken disk"
            assert world.worker.machine.at == "paused"
        finally:
            mend()
        seen.append(await ended(world))

    world.run(scene)
    return seen[0]


async def until(happened: Callable[[], object]) -> None:
    while not happened():  # noqa: ASYNC110  virtual time, and no event
        await asyncio.sleep(0.1)


async def ended(world: World) -> TaskStatus:
    async for status in world.queue.watch("later"):
        if status.state == "resolved":
            assert str(status.resolution) == "completed"
            break
    return await world.ended("t")


def message(status: TaskStatus) -> str:
    """Of the first run."""
    ending = status.runs[0].resolution
    return ending.message if ending else ""


def endings(status: TaskStatus) -> list[str]:
    return [str(run.resolution) for run in status.runs]


@BREAKS
def test_a_store_whose_disk_fails_ends_no_task(world: World, damage: Break, disk: Path) -> None:
    world.store = cast("MemoryStore", FolderStore(disk))
    status = run_through_fault(world, damage, disk, artifacts=[{"name": "made", "path": "made"}])
    assert endings(status) == ["exception (resource-unavailable)", "completed"]
    assert "the artifact store refused: " in message(status)
    assert world.is_clean()


def test_a_log_whose_disk_is_full_ends_no_task(disk: Path) -> None:
    world = World(disk)
    status = run_through_fault(world, make_full, disk, log="x" * 9000, log_every=5)
    assert endings(status)[-1] == "completed"
    assert set(endings(status)[:-1]) == {"exception (resource-unavailable)"}
    assert "cannot be written any further" in message(status)
    assert "bytes are missing here: No space left on device" in world.log()


@BREAKS
def test_a_home_whose_disk_fails_makes_no_run(damage: Break, disk: Path) -> None:
    world = World(disk)

    async def scene() -> None:
        (disk / "runs").mkdir()
        mend = damage(disk)
        await world.submit("t", retries=0)
        await asyncio.sleep(100)
        assert world.worker.machine.at == "paused"
        mend()
        assert endings(await world.ended("t"))[-1] == "completed"

    world.run(scene)
    assert all("resource" not in text for text in map(str, world.seen.endings.values()))


def test_a_cache_whose_disk_is_full_ends_no_task(disk: Path) -> None:
    world = World(disk)

    async def scene() -> None:
        await world.submit("first", caches=[{"name": "a", "path": "a"}])
        await asyncio.sleep(1)
        await world.submit("t", retries=3, load_for=10, caches=[{"name": "b", "path": "b"}])
        await asyncio.sleep(2)
        mend = take_inodes(disk)
        await until(lambda: world.worker.load.fault)
        await asyncio.sleep(100)
        mend()
        status = await world.ended("t")
        assert endings(status) == ["exception (resource-unavailable)", "completed"]

    world.run(scene)


def test_what_a_failed_run_could_not_keep_is_told(world: World, disk: Path) -> None:
    world.store = cast("MemoryStore", FolderStore(disk))
    fill(disk)

    async def scene() -> None:
        await world.submit("t", exit_code=1, files={"made": "x" * 9000}, artifacts=[{"name": "made", "path": "made"}])
        assert endings(await world.ended("t")) == ["failed (exit-code)"]

    world.run(scene)
    lost = "not everything that the run has made is kept: the artifact store refused: No space left on device"
    assert lost in world.log()
    told = notes(read_journal(world.home / "runs/t/0/journal.jsonl"))
    assert told == (lost, "the log is not in the store: the artifact store refused: No space left on device")


def test_an_unknown_error_on_a_full_disk_does_not_break_the_worker(disk: Path) -> None:
    world = World(disk)

    async def scene() -> None:
        await world.submit("t", run_for=10, log="x" * 4000, fail_at="wait", error="crash", retries=0)
        await asyncio.sleep(2)
        mend = fill(disk)
        assert endings(await world.ended("t"))[0] == "exception (internal-error)"
        mend.unlink()

    world.run(scene)
    assert not world.worker.load.broken


def test_a_worker_that_is_done_ends_though_its_disk_is_full(world: World, disk: Path) -> None:
    world.store = cast("MemoryStore", FolderStore(disk))
    fill(disk)

    async def scene() -> None:
        await world.submit("t", retries=0, files={"made": "x" * 9000}, artifacts=[{"name": "made", "path": "made"}])

    world.run(scene, stop_when=StopCondition(tasks=1))
    assert endings_of(world) == ["exception (resource-unavailable)"]
    assert world.worker.load.why == "1 task taken, as was asked"


def endings_of(world: World) -> list[str]:
    return [str(ending) for ending in world.seen.endings.values()]


def test_an_artifact_waits_a_little_for_room(world: World, disk: Path) -> None:
    world.store = cast("MemoryStore", FolderStore(disk))

    async def scene() -> None:
        filling = fill(disk)
        await world.submit("t", files={"made": "x" * 9000}, artifacts=[{"name": "made", "path": "made"}])
        await until(lambda: "is asked again" in world_log(world))
        filling.unlink()
        assert endings(await world.ended("t")) == ["completed"]

    world.run(scene)


def world_log(world: World) -> str:
    with contextlib.suppress(FileNotFoundError):
        return world.log()
    return ""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENOMEM])
def test_the_number_of_an_error_says_whether_it_is_the_machine_s(number: int) -> None:
    error = OSError(number, os.strerror(number))
    assert isinstance(local_failure("x", error, "/f"), MachineFault)
    assert isinstance(machine_fault(error), MachineFault)


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no"), TimeoutError("slow"), ValueError("x")])
def test_other_errors_are_none_of_the_machine(error: Exception) -> None:
    assert machine_fault(error) is None
    if isinstance(error, OSError):
        assert type(local_failure("x", error)) is TaskFailedInternally
