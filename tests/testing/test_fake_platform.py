from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest

from taskrunner.errors import (
    Bug,
    MachineFault,
    MalformedPayload,
    Reject,
    RunLost,
    TaskFailed,
    TaskFailedInternally,
    Unavailable,
    WorkerBroken,
)
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.platform import PlatformContext, RunContext
from taskrunner.model import Document, Health, RunKey, Task
from taskrunner.schema.task import decode_task
from taskrunner.testing import FakeCaches, FakePayload, FakePlatform, MemoryLog, clock
from taskrunner.testing.fakes.payload import ErrorKind, Stage
from taskrunner.testing.fakes.platform import FakeOptions


def context(task_id: str = "t1", log: MemoryLog | None = None, folder: Path = Path("/nonexistent")) -> RunContext:
    return RunContext(
        task=Task(task_id, "fake"),
        run=RunKey(task_id, 0),
        folder=folder,
        log=log or MemoryLog(),
        caches=FakeCaches(folder),
        reveal=lambda secret: secret.literal,
        progress=lambda _: None,
    )


async def loaded(platform: FakePlatform, payload: FakePayload, log: MemoryLog | None = None) -> Engine[FakePayload]:
    engine = await platform.new_engine(context(log=log))
    await engine.load(payload)
    return engine


async def everything(platform: FakePlatform, payload: FakePayload) -> None:
    """The calls of a worker for one run, with a kill or an abort if the payload fails there."""
    platform.check(payload)
    engine = await loaded(platform, payload)
    if payload.fail_at == "discard":
        await engine.discard()
    execution = await engine.start({})
    if payload.fail_at == "abort":
        await execution.abort()
    results = await (execution.kill() if payload.fail_at == "kill" else execution.wait())
    await results.archive_file("a")
    await results.deliver()
    await results.dispose()


async def read(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in body])


def test_a_run_from_begin_to_end() -> None:
    async def main() -> None:
        platform, log, begin = FakePlatform(), MemoryLog(), asyncio.get_running_loop().time()
        payload = FakePayload(load_for=60, run_for=3600, exit_code=3, log="hi\n", log_every=1200, files={"a": "b"})
        execution = await (await loaded(platform, payload, log)).start({})
        assert platform.alive == ["t1/0 execution"]
        results = await execution.wait()
        assert (results.exit_code, log.text) == (3, "hi\n" * 4)
        assert await read((await results.archive_file("a")).read()) == b"b"
        await results.dispose()
        assert platform.trace("t1") == ["new-engine", "load", "start", "wait", "archive", "dispose"]
        assert platform.alive == []
        assert asyncio.get_running_loop().time() - begin == 3660

    clock.run(main())


ERRORS: dict[ErrorKind, type[Exception]] = {
    "task-failed": TaskFailed,
    "malformed": MalformedPayload,
    "unavailable": Unavailable,
    "run-lost": RunLost,
    "internal": TaskFailedInternally,
    "machine": MachineFault,
    "reject": Reject,
    "broken": WorkerBroken,
    "bug": Bug,
    "crash": ZeroDivisionError,
}


@pytest.mark.parametrize("kind", get_args(ErrorKind))
def test_it_fails_as_the_script_says(kind: ErrorKind) -> None:
    with pytest.raises(ERRORS[kind], match="the script says so, at load"):
        clock.run(everything(FakePlatform(), FakePayload(fail_at="load", error=kind)))


@pytest.mark.parametrize("stage", [stage for stage in get_args(Stage) if stage])
def test_it_fails_where_the_script_says(stage: Stage) -> None:
    payload = FakePayload(files={"a": ""}, fail_at=stage, error="malformed")
    with pytest.raises(MalformedPayload, match=f"at {stage}"):
        clock.run(everything(FakePlatform(), payload))


@pytest.mark.parametrize("stage", ["load", "start", "wait", "archive", "deliver", "dispose"])
def test_it_hangs_where_the_script_says_and_can_be_cancelled(stage: Stage) -> None:
    async def main() -> None:
        platform = FakePlatform()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(86400):
                await everything(platform, FakePayload(files={"a": ""}, hang_at=stage))
        assert platform.alive

    clock.run(main())


def test_a_run_whose_kill_hangs_is_alive_until_the_abort() -> None:
    async def main() -> None:
        platform = FakePlatform()
        execution = await (await loaded(platform, FakePayload(run_for=60, hang_at="kill"))).start({})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await execution.kill()
        assert platform.alive == ["t1/0 execution"]
        await execution.abort()
        assert platform.alive == []

    clock.run(main())


def test_a_killed_run_keeps_its_files() -> None:
    async def main() -> None:
        platform = FakePlatform()
        execution = await (await loaded(platform, FakePayload(run_for=60, files={"a": "b"}))).start({})
        await asyncio.sleep(30)
        results = await execution.kill()
        assert results.exit_code == 137
        assert await read((await results.archive_file("a")).read()) == b"b"

    clock.run(main())


def test_calls_in_the_wrong_order_are_bugs() -> None:
    async def main() -> None:
        platform = FakePlatform()
        early = await platform.new_engine(context("early"))
        with pytest.raises(Bug, match="start comes after load"):
            await early.start({})
        engine = await loaded(platform, FakePayload(exit_code=1))
        with pytest.raises(Bug, match="once"):
            await engine.load(FakePayload())
        execution = await engine.start({})
        for call in (engine.start({}), engine.discard(), engine.attach_cache(FakeCaches(Path()), "x")):  # type: ignore[arg-type]
            with pytest.raises(Bug):
                await call
        results = await execution.wait()
        with pytest.raises(Bug, match="after a success only"):
            await results.deliver()
        await results.dispose()
        with pytest.raises(Bug, match="results"):
            await results.archive_file("a")

    clock.run(main())


def test_a_run_of_a_dead_worker_is_recovered_and_cleaned_up() -> None:
    async def main() -> None:
        platform = FakePlatform()
        first, second = [await platform.plugin().open(FakeOptions(), platform_context(name)) for name in ("w1", "w2")]
        engine = await first.new_engine(context())
        await engine.load(FakePayload(run_for=60, exit_code=5))
        handle = (await engine.start({})).handle
        results = await (await second.recover(handle, context(), 0)).wait()
        assert results.exit_code == 5
        with pytest.raises(TaskFailed, match="handle"):
            await second.recover(handle, context(), 0)
        assert await second.clean_up_after("w1") == ["t1/0: removed its results"]
        assert await second.clean_up_after("w1") == []
        assert platform.alive == []

    clock.run(main())


def test_a_test_sets_the_health_and_the_error_of_new_engine() -> None:
    async def main() -> None:
        platform = FakePlatform()
        plugged = await platform.plugin().open(FakeOptions(), platform_context("w1"))
        platform.engine_error, platform.current_health = Unavailable("no daemon"), Health(fit=False, why="no daemon")
        with pytest.raises(Unavailable):
            await plugged.new_engine(context())
        assert await plugged.health() == platform.current_health
        assert platform.alive == []

    clock.run(main())


def platform_context(worker_id: str) -> PlatformContext:
    return PlatformContext(worker_id, Path("/nonexistent"), lambda secret: secret.literal)


def test_a_run_that_was_never_begun_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match="t1/0"):
        FakePlatform().run("t1")


def test_a_script_is_decoded_from_a_document() -> None:
    document: Document = {"platform": "fake", "run_for": 3600, "files": {"a": "b"}, "hang_at": "kill"}
    _, payload = decode_task(document, {"fake": FakePayload})
    assert payload == FakePayload(run_for=3600, files={"a": "b"}, hang_at="kill")
    with pytest.raises(MalformedPayload, match="hang_at"):
        decode_task({"platform": "fake", "hang_at": "lunch"}, {"fake": FakePayload})


def test_seconds_are_not_negative() -> None:
    with pytest.raises(MalformedPayload, match="run_for: is negative"):
        FakePlatform().check(FakePayload(run_for=-1))
