"""A call to a plug has a limit, also when the plug ignores its cancellation."""

from __future__ import annotations

import asyncio

import pytest

from taskrunner.blocking import OverLimit
from taskrunner.bounded import BoundedCalls
from taskrunner.errors import Bug
from taskrunner.testing import clock


async def ignore_cancellation(seconds: float, result: object = None) -> object:
    """Sleeps, and ignores its cancellation. Then returns the result, or raises it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (left := until - loop.time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue
    if isinstance(result, Exception):
        raise result
    return result


def test_the_result_of_a_call_is_returned() -> None:
    assert clock.run(BoundedCalls().call(asyncio.sleep(5, "done"), limit=10, doing="sleeping")) == "done"


def test_a_call_over_its_limit_is_cancelled() -> None:
    async def main() -> float:
        calls = BoundedCalls()
        with pytest.raises(OverLimit, match=r"^sleeping took longer than 10 s$"):
            await calls.call(asyncio.sleep(3600), limit=10, doing="sleeping")
        return asyncio.get_running_loop().time() - began(clock.START)

    assert clock.run(main()) == pytest.approx(10)


def began(start: object) -> float:
    return start.timestamp()  # type: ignore[attr-defined,no-any-return]  # a datetime


def test_a_call_that_ignores_its_cancellation_is_left_behind_with_a_warning() -> None:
    warnings: list[str] = []

    async def main() -> None:
        calls = BoundedCalls(warnings.append)
        with pytest.raises(OverLimit):
            await calls.call(ignore_cancellation(3600), limit=10, doing="asking")
        assert asyncio.get_running_loop().time() - began(clock.START) == pytest.approx(15)
        assert calls.hangs("asking")
        assert not calls.hangs("another call")
        await asyncio.sleep(3600)
        assert not calls.hangs("asking")

    clock.run(main())
    assert warnings == ["asking does not end: something may be left behind"]


def test_an_error_of_a_call_that_was_left_behind_is_a_warning() -> None:
    warnings: list[str] = []

    async def main() -> None:
        calls = BoundedCalls(warnings.append)
        with pytest.raises(OverLimit):
            await calls.call(ignore_cancellation(60, OSError("the disk is gone")), limit=10, doing="asking")
        await asyncio.sleep(60)

    clock.run(main())
    assert warnings[-1] == "asking: OSError: the disk is gone"


def test_a_cancelled_caller_waits_until_its_call_is_undone() -> None:
    undone: list[float] = []

    async def undoes() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(2)
            undone.append(asyncio.get_running_loop().time())

    async def main() -> None:
        calling = asyncio.create_task(BoundedCalls().call(undoes(), limit=None, doing="asking"))
        await asyncio.sleep(5)
        calling.cancel()
        await asyncio.wait([calling])
        assert calling.cancelled()
        assert undone == [pytest.approx(began(clock.START) + 7)]

    clock.run(main())


def test_a_call_that_cancels_itself_is_a_bug() -> None:
    async def cancels() -> None:
        raise asyncio.CancelledError

    with pytest.raises(Bug, match="asking cancelled itself"):
        clock.run(BoundedCalls().call(cancels(), limit=10, doing="asking"))
