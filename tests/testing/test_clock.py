from __future__ import annotations

import asyncio
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.testing import clock


def now() -> datetime:
    return datetime.now(UTC)


def test_hours_pass_at_once_and_all_clocks_agree() -> None:
    async def main() -> None:
        loop, begin = asyncio.get_running_loop(), now()
        assert begin == clock.START
        for seconds in (9 * 3600, 0.1, 1e-6, 1 / 3):
            await asyncio.sleep(seconds)
            assert loop.time() == time.time() == time.monotonic() == now().timestamp()
        assert timedelta(hours=9, seconds=0.43) < now() - begin < timedelta(hours=9, seconds=0.44)

    real = time.monotonic()
    clock.run(main())
    assert time.monotonic() - real < 3600


def test_it_begins_at_the_start_that_is_given() -> None:
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)

    async def main() -> datetime:
        return now()

    assert clock.run(main(), start=start) == start
    assert datetime.now(UTC) != start


def test_timers_fire_in_their_order_and_at_their_time() -> None:
    fired: list[tuple[str, float]] = []

    async def after(name: str, delay: float) -> None:
        begin = asyncio.get_running_loop().time()
        await asyncio.sleep(delay)
        fired.append((name, round(asyncio.get_running_loop().time() - begin, 3)))

    async def main() -> None:
        await asyncio.gather(after("late", 3600), after("early", 0.5), after("middle", 60))

    clock.run(main())
    assert fired == [("early", 0.5), ("middle", 60), ("late", 3600)]


def test_a_timeout_is_virtual_too() -> None:
    async def main() -> None:
        async with asyncio.timeout(7 * 86400):
            await asyncio.Future()

    with pytest.raises(TimeoutError):
        clock.run(main())


async def _stuck(event: asyncio.Event) -> None:
    await event.wait()


def test_a_deadlock_names_the_tasks_and_their_lines() -> None:
    async def main() -> None:
        event = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(_stuck(event), name="first")
            group.create_task(asyncio.wait_for(_stuck(event), None), name="second")

    with pytest.raises(clock.Deadlock) as caught:
        clock.run(main())
    text = str(caught.value)
    assert "first waits at" in text
    assert "second waits at" in text
    assert "test_clock.py" in text
    assert "called by" in text
    assert "_stuck" in text


def test_polling_forever_is_a_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "MOST_JUMPS", 100)

    async def main() -> None:
        while True:  # noqa: ASYNC110  polling is the point
            await asyncio.sleep(5)

    with pytest.raises(clock.Deadlock, match="polls forever"):
        clock.run(main())


def test_a_thread_is_no_deadlock_and_takes_no_virtual_time() -> None:
    async def main() -> None:
        begin, loop = now(), asyncio.get_running_loop()
        started, proceed = asyncio.Event(), threading.Event()

        def work() -> str:
            loop.call_soon_threadsafe(started.set)
            proceed.wait()
            return "done"

        async with asyncio.timeout(1):  # virtual: it would pass at once if the clock moved on meanwhile
            working = asyncio.create_task(asyncio.to_thread(work))
            await started.wait()
            proceed.set()
            assert await working == "done"
        assert now() == begin

    clock.run(main())


def test_a_thread_sees_virtual_time() -> None:
    async def main() -> None:
        await asyncio.sleep(3600)
        assert await asyncio.to_thread(time.time) == time.time()

    clock.run(main())


def test_a_thread_that_hangs_does_not_stop_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "PATIENCE", 0.05)
    proceed = threading.Event()

    async def main() -> datetime:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.to_thread(proceed.wait)
        proceed.set()
        return now()

    assert clock.run(main()) == clock.START + timedelta(seconds=30)


def test_a_blocking_call_that_hangs_ends_at_its_limit_and_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "PATIENCE", 0.05)
    proceed = threading.Event()

    async def main() -> datetime:
        with pytest.raises(OverLimit):
            await run_blocking(proceed.wait, limit=30, doing="waiting")
        return now()

    try:
        assert clock.run(main()) == clock.START + timedelta(seconds=30)
    finally:
        proceed.set()


def test_an_error_of_the_coroutine_is_raised_and_time_is_real_again() -> None:
    async def main() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        clock.run(main())
    assert type(datetime.now(UTC)) is datetime


def test_without_freezegun_the_loop_is_virtual_and_the_date_is_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "freezegun", None)

    async def main() -> float:
        loop, begin = asyncio.get_running_loop(), now()
        await asyncio.sleep(86400)
        assert abs(now() - begin) < timedelta(hours=12)
        return loop.time()

    assert clock.run(main()) == (clock.START + timedelta(days=1)).timestamp()
