"""What the command line reads of the tasks of a Taskcluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from taskrunner.errors import ConfigError, NotSupported, Unavailable, UnknownTask
from taskrunner.model import COMPLETED, Resolution, RunKey, Submission, exception
from taskrunner.queues.taskcluster.reader import TaskclusterReader
from taskrunner.queues.taskcluster.service.client import TaskclusterServices
from taskrunner.queues.taskcluster.service.credentials import Credentials
from taskrunner.state.run_folder import RunFolder, make_run_folder
from tests.support.taskcluster.opened import PAYLOAD, claimed, opened
from tests.support.taskcluster.server import ACCESS_TOKEN, CLIENT_ID, TaskclusterServer


@pytest.fixture
def server() -> Iterator[TaskclusterServer]:
    with TaskclusterServer(poll=0.1) as server:
        yield server


@asynccontextmanager
async def reading(server: TaskclusterServer, home: Path, token: str = ACCESS_TOKEN) -> AsyncIterator[TaskclusterReader]:
    reader = TaskclusterReader(TaskclusterServices(server.url, Credentials(CLIENT_ID, token)), home)
    try:
        yield reader
    finally:
        await reader.close()


def ran_here(home: Path, task_id: str, run_id: int = 0) -> None:
    folder = RunFolder(home, RunKey(task_id, run_id))
    home.mkdir(exist_ok=True)
    make_run_folder(folder)
    folder.journal.touch()


def test_a_status_has_each_run_and_where_its_log_is(server: TaskclusterServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(server) as queue, reading(server, tmp_path) as reader:
            claim = await claimed(queue, server)
            await queue.resolve(claim, exception("worker-shutdown", ""))
            [claim] = await queue.claim(1, lease=60, wait=0)
            ran_here(tmp_path, "one", 1)
            running = await reader.status("one")
            assert (running.state, running.resolution) == ("running", None)
            await queue.resolve(claim, COMPLETED)
            status = await reader.status("one")
            assert (status.state, status.resolution, status.submission.retries) == ("resolved", COMPLETED, 5)
            assert status.submission.document["name"] == "a task"
            assert [(str(run.resolution), run.worker_id, run.home) for run in status.runs] == [
                ("exception (worker-shutdown)", "w-1", ""), ("completed", "w-1", str(tmp_path)),
            ]  # fmt: skip

    asyncio.run(main())


def test_each_state_has_its_resolution(server: TaskclusterServer, tmp_path: Path) -> None:
    async def main() -> list[Any]:
        async with opened(server) as queue, reading(server, tmp_path) as reader:
            for name in ("failed", "cancelled", "pending"):
                server.create(name, PAYLOAD, priority={"failed": "highest"}.get(name, "low"))
            [claim] = await queue.claim(1, lease=60, wait=0)
            await queue.resolve(claim, Resolution("failed", "exit-code", "3"))
            server.cancel("cancelled")
            found = [await reader.status(name) for name in ("failed", "cancelled", "pending")]
            return [(status.state, str(status.resolution), len(status.runs)) for status in found]

    assert asyncio.run(main()) == [
        ("resolved", "failed", 1), ("resolved", "exception (canceled)", 0), ("pending", "None", 0),
    ]  # fmt: skip


def test_only_what_this_home_has_run_is_listed(server: TaskclusterServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with reading(server, tmp_path) as reader:
            for name in ("first", "second", "elsewhere"):
                server.create(name, PAYLOAD)
            for name in ("first", "second", "forgotten-there"):
                ran_here(tmp_path, name)
            assert {status.task_id async for status in reader.list()} == {"first", "second"}
            assert len([status async for status in reader.list(limit=1)]) <= 1
            assert list(await reader.matching("f")) == ["first", "forgotten-there"]
            assert list(await reader.matching("")) == []

    asyncio.run(main())


def test_a_watcher_gets_each_change_up_to_the_end(
    server: TaskclusterServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskrunner.queues.taskcluster.reader.POLL", 0.01)

    async def main() -> None:
        async with reading(server, tmp_path) as reader:
            server.create("one", PAYLOAD)
            states = []
            async for status in reader.watch("one"):
                states.append(status.state)
                server.cancel("one")
            assert states == ["pending", "resolved"]

    asyncio.run(main())


@pytest.mark.parametrize("task_id", ["nobody", "../x", ""])
def test_a_task_that_is_unknown(server: TaskclusterServer, tmp_path: Path, task_id: str) -> None:
    async def main() -> None:
        async with reading(server, tmp_path) as reader:
            with pytest.raises(UnknownTask):
                await reader.status(task_id)

    asyncio.run(main())


def test_errors_say_whose_they_are(server: TaskclusterServer, tmp_path: Path) -> None:
    async def main() -> None:
        server.create("one", PAYLOAD)
        async with reading(server, tmp_path, token="another") as reader:
            with pytest.raises(ConfigError, match="HTTP 401"):
                await reader.status("one")
        async with reading(server, tmp_path) as reader:
            server.fault("status", "garbage", body=b'{"status": {"state": "running", "runs": [1]}}')
            with pytest.raises(Unavailable, match="cannot be read"):
                await reader.status("one")

    asyncio.run(main())


CHANGES: dict[str, Callable[[TaskclusterReader], Any]] = {
    "submit": lambda reader: reader.submit(Submission("one", {})),
    "cancel": lambda reader: reader.cancel("one"),
    "retry": lambda reader: reader.retry("one"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_tasks_are_changed_at_taskcluster(
    server: TaskclusterServer, tmp_path: Path, change: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with reading(server, tmp_path) as reader:
            with pytest.raises(NotSupported, match="run again there"):
                await change(reader)

    asyncio.run(main())
