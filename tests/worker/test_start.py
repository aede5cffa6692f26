"""A whole worker: what it is given, and the lock that is left after its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from taskrunner import (
    Claim,
    Config,
    ConfigError,
    FolderStore,
    MemoryQueue,
    Observer,
    Queue,
    RunKey,
    Submission,
    Unavailable,
    WorkerBroken,
    WorkerView,
    run_worker,
)
from taskrunner.config.config import decode_config
from taskrunner.config.settings import Layer, Settings
from taskrunner.interfaces.artifacts import LOG_NAME
from taskrunner.machines.worker import Load
from taskrunner.state.journal_reader import read_journal
from taskrunner.state.worker_lock import dead_workers
from taskrunner.testing import FakeHost, FakePlatform, MemoryStore
from taskrunner.worker.start import services
from taskrunner.worker.stop_condition import StopCondition


def run(home: Path, queue: MemoryQueue, platform: FakePlatform, task_id: str) -> Load:
    async def main() -> Load:
        await queue.submit(Submission(task_id, {"id": task_id, "platform": "fake"}))
        return await run_worker(
            Config(min_free_disk=0),
            FakeHost(),
            home,
            stop_when=StopCondition(tasks=1),
            queue=queue.join,
            plugins={"fake": platform.plugin()},
        )

    return asyncio.run(main())


def test_a_worker_that_ends_in_order_leaves_nothing_to_recover(tmp_path: Path) -> None:
    assert not run(tmp_path, MemoryQueue("submitter"), FakePlatform(), "t").broken
    assert dead_workers(tmp_path) == []


def test_the_next_worker_recovers_from_a_broken_one(tmp_path: Path) -> None:
    broken = FakePlatform()
    broken.engine_error = WorkerBroken("the machine is on fire")
    assert run(tmp_path, MemoryQueue("submitter"), broken, "t1").broken
    assert len(dead_workers(tmp_path)) == 1
    assert not run(tmp_path, MemoryQueue("submitter"), FakePlatform(), "t2").broken
    assert dead_workers(tmp_path) == []


def test_the_next_worker_recovers_from_one_whose_platform_could_not_be_closed(tmp_path: Path) -> None:
    class Away(FakePlatform):
        def plugin(self) -> type[FakePlatform]:
            class Plugged(super().plugin()):  # type: ignore[misc]  # made at run time
                async def dispose(self) -> None:
                    raise Unavailable("it is away")

            return Plugged

    queue = MemoryQueue("submitter")
    assert not run(tmp_path, queue, Away(), "t1").broken
    assert len(dead_workers(tmp_path)) == 1
    run(tmp_path, queue, FakePlatform(), "t2")
    assert dead_workers(tmp_path) == []


def test_a_cache_of_an_engine_has_no_name_that_a_task_can_use(tmp_path: Path) -> None:
    """A task that names a mirror's folder, as a cache, gets an empty one."""
    seen: list[list[Path]] = []

    platform = FakePlatform()

    async def main() -> None:
        async with services(Config(), tmp_path, queue=MemoryQueue, plugins={"fake": platform.plugin()}) as shared:
            mirror = await shared.engine_caches.exclusive("git-mirror")
            (mirror.folder.path / "pack").write_text("private")
            await mirror.commit()
            await shared.platforms.get("fake")
            tasks = await shared.caches("fake").exclusive("git-mirror")
            seen.append(list(tasks.folder.path.iterdir()))
            await tasks.commit()
            again = await shared.engine_caches.exclusive("git-mirror")
            seen.append([path.relative_to(again.folder.path) for path in again.folder.path.iterdir()])
            await again.commit()

    asyncio.run(main())
    assert seen == [[], [Path("pack")]]


# ---- what the program, the host and the configuration give ----------------------------------------------


class Announced(Observer):
    """Keeps what a worker says of itself."""

    def __init__(self) -> None:
        self.worker = WorkerView("", 0)
        self.warnings: list[str] = []

    def opened(self, worker: WorkerView) -> None:
        self.worker = worker

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class ClosedStore(MemoryStore):
    """Knows whether it was closed."""

    closed = False

    async def close(self) -> None:
        self.closed = True


def run_with(home: Path, config: Config | Settings, host: FakeHost, **more: Any) -> Announced:
    """Runs one task on a worker."""
    seen = Announced()

    async def main() -> None:
        queue = MemoryQueue("submitter")
        await queue.submit(Submission("t", {"id": "t", "platform": "fake", "log": "said"}))
        plugins = {"fake": FakePlatform().plugin()}
        await run_worker(
            config,
            host,
            home,
            stop_when=StopCondition(tasks=1),
            observer=seen,
            queue=queue.join,
            plugins=plugins,
            **more,
        )

    asyncio.run(main())
    return seen


def test_the_configuration_of_the_host_reaches_a_worker_of_a_program(tmp_path: Path) -> None:
    host = FakeHost({"capacity": 3, "lease": 30, "worker_id": "i-07"}, {"zone": "z1"})
    seen = run_with(tmp_path, Config(min_free_disk=0), host)
    assert seen.worker.capacity == 3
    assert seen.worker.worker_id.startswith("i-07-")
    assert seen.worker.identity == {"host": "fake", "zone": "z1"}
    assert run_with(tmp_path, Config(min_free_disk=0, capacity=2), host).worker.capacity == 2


def test_the_configuration_of_the_host_takes_its_place_among_the_layers(tmp_path: Path) -> None:
    file = Layer({"capacity": 2, "min_free_disk": 0, "lease": 20}, "file: {}".format)
    flags = Layer({"lease": 40}, "--{}".format)
    seen = run_with(tmp_path, Settings((file,), (flags,)), FakeHost({"capacity": 3, "lease": 30}))
    assert seen.worker.capacity == 3


def test_a_mistake_of_the_host_ends_the_worker_before_it_begins(tmp_path: Path) -> None:
    host = FakeHost({"capacity": 0})
    with pytest.raises(ConfigError, match="the configuration of FakeHost: capacity: must be at least 1"):
        run_with(tmp_path, Config(), host)
    assert not host.is_off
    assert list(tmp_path.iterdir()) == []


def test_the_machine_is_named_in_the_log_and_the_journal_of_a_run(tmp_path: Path) -> None:
    seen = run_with(tmp_path, Config(min_free_disk=0), FakeHost(identity={"zone": "z1"}))
    first, *_ = (tmp_path / "runs/t/0/log").read_text().splitlines()
    assert first == f"[taskrunner] task t/0 on worker {seen.worker.worker_id}, host fake, zone z1"
    record, *_ = read_journal(tmp_path / "runs/t/0/journal.jsonl")
    assert record.data["host"] == {"host": "fake", "zone": "z1"}


def test_a_store_of_the_program_is_used_and_stays_open(tmp_path: Path) -> None:
    store = ClosedStore()
    run_with(tmp_path, Config(min_free_disk=0), FakeHost(), store=store)

    async def log() -> bytes:
        return b"".join([chunk async for chunk in store.get(RunKey("t", 0), LOG_NAME)])

    assert b"said" in asyncio.run(log())
    assert not store.closed
    assert not (tmp_path / "artifacts").exists()


def test_a_store_of_the_configuration_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    async def close(store: FolderStore) -> None:
        closed.append(store)

    monkeypatch.setattr(FolderStore, "close", close)
    config = decode_config({"min_free_disk": 0, "store": {"folder": {"path": str(tmp_path / "kept")}}})
    run_with(tmp_path / "home", config, FakeHost())
    assert len(closed) == 1
    assert (tmp_path / "kept/t/0/log").exists()


def test_what_must_be_prepared_comes_before_the_first_claim(tmp_path: Path) -> None:
    order: list[str] = []

    class Late(MemoryQueue):
        async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
            order.append("claim")
            return await super().claim(n, lease=lease, wait=wait)

    async def prepare(queue: Queue) -> None:
        order.append("prepare")
        assert isinstance(queue, Late)
        await queue.submit(Submission("t", {"id": "t", "platform": "fake"}))

    async def main() -> None:
        await run_worker(
            Config(min_free_disk=0),
            FakeHost(),
            tmp_path,
            stop_when=StopCondition(tasks=1),
            queue=Late,
            plugins={"fake": FakePlatform().plugin()},
            prepare=prepare,
        )

    asyncio.run(main())
    assert order[:2] == ["prepare", "claim"]


def test_a_configuration_that_proves_wrong_later_is_told_as_such(tmp_path: Path) -> None:
    """A queue that finds it at a claim: the worker ends, and the caller learns whose mistake it is."""

    class Wrong(MemoryQueue):
        async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
            raise ConfigError("queue: the subject is unknown")

    host = FakeHost()
    with pytest.raises(ConfigError, match="the subject is unknown"):
        asyncio.run(run_worker(Config(min_free_disk=0), host, tmp_path, queue=Wrong, plugins={}))
    assert not host.is_off


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    values = {
        "queue": "sqlite:///",
        "store": {"folder": {"path": str(tmp_path / "file/below")}},
        "secrets": {"a": {"env": "UNSET"}},
        "process": {"user": "nobody-such"},
    }

    async def main() -> None:
        async with services(decode_config(values), tmp_path / "home"):
            raise AssertionError

    with pytest.raises(ConfigError) as caught:
        asyncio.run(main())
    starts = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert starts == ["secrets.a", "queue", "store", "process"]


def test_what_was_opened_is_closed_when_something_else_is_wrong(tmp_path: Path) -> None:
    closed = []

    class Closing(MemoryQueue):
        async def close(self) -> None:
            closed.append(self)

    async def main() -> None:
        config = decode_config({"secrets": {"a": {"env": "UNSET"}}})
        async with services(config, tmp_path, queue=Closing, plugins={}):
            raise AssertionError

    with pytest.raises(ConfigError, match=r"secrets\.a: the variable UNSET is not set"):
        asyncio.run(main())
    assert len(closed) == 1
