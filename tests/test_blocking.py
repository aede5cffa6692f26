"""Blocking calls have a limit, and a thread that hangs keeps nothing alive."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import wait

import pytest

from taskrunner.blocking import DaemonExecutor, OverLimit, run_blocking, wait_through
from taskrunner.errors import TaskFailedInternally
from taskrunner.testing import clock


def test_the_result_of_the_call_is_returned() -> None:
    assert asyncio.run(run_blocking(lambda: 7, limit=60, doing="counting")) == 7


def test_the_error_of_the_call_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(run_blocking(lambda: 1 // 0, limit=60, doing="dividing"))


def test_a_call_over_its_limit_is_interrupted() -> None:
    hung = threading.Event()

    async def main() -> None:
        with pytest.raises(OverLimit, match=r"^reading a file took longer than 0\.05 s$"):
            await run_blocking(hung.wait, limit=0.05, doing="reading a file", interrupt=hung.set, grace=60)

    asyncio.run(main())
    assert hung.is_set()


def test_the_caller_chooses_the_error_of_the_limit() -> None:
    hung = threading.Event()
    call = run_blocking(hung.wait, limit=0.01, doing="reading", interrupt=hung.set, error=TaskFailedInternally)
    with pytest.raises(TaskFailedInternally, match=r"^reading took longer than 0\.01 s$"):
        asyncio.run(call)


def test_a_cancelled_call_is_interrupted_and_waited_for() -> None:
    begun, hung, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        hung.wait()
        ended.set()

    async def main() -> None:
        call = asyncio.create_task(run_blocking(work, limit=60, doing="waiting", interrupt=hung.set, grace=60))
        await asyncio.to_thread(begun.wait)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert ended.is_set()

    asyncio.run(main())


def test_a_call_that_is_cancelled_twice_is_still_waited_for() -> None:
    begun, hung, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        hung.wait()
        ended.set()

    async def main() -> None:
        call = asyncio.create_task(run_blocking(work, limit=60, doing="waiting", grace=60))
        await asyncio.to_thread(begun.wait)
        for _ in range(3):
            call.cancel()
            await asyncio.sleep(0)
        assert not call.done()
        hung.set()
        await asyncio.wait([call])
        assert call.cancelled()
        assert ended.is_set()

    asyncio.run(main())


def test_a_wait_that_is_cancelled_lasts_to_its_limit() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        waiting = asyncio.create_task(wait_through(loop.create_future(), 3600))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        return loop.time() - began

    assert clock.run(main()) == 3600


@pytest.mark.parametrize("limit", [0.05, 60])
def test_a_late_result_is_discarded(limit: float) -> None:
    """After the limit, and after a cancellation."""
    begun, release, discarded = threading.Event(), threading.Event(), threading.Event()
    found: list[str] = []

    def work() -> str:
        begun.set()
        release.wait()
        return "a lease"

    def discard(result: str) -> None:
        found.append(result)
        discarded.set()

    async def main() -> None:
        call = asyncio.create_task(run_blocking(work, limit=limit, doing="leasing", discard=discard))
        await asyncio.to_thread(begun.wait)
        if limit > 1:
            call.cancel()
        await asyncio.wait([call])
        release.set()
        await asyncio.to_thread(discarded.wait)

    asyncio.run(main())
    assert found == ["a lease"]


def test_a_result_that_arrives_with_the_cancellation_is_discarded_in_the_executor() -> None:
    found: list[tuple[str, str]] = []

    async def main() -> None:
        begun, release, worked = threading.Event(), threading.Event(), threading.Event()

        def work() -> str:
            begun.set()
            release.wait()
            return "a lease"

        def discard(result: str) -> None:
            found.append((result, threading.current_thread().name))

        executor = DaemonExecutor("test", size=1)
        call = asyncio.create_task(run_blocking(work, limit=60, doing="leasing", discard=discard, executor=executor))
        await asyncio.to_thread(begun.wait)
        executor.submit(worked.set)
        release.set()
        worked.wait()  # blocks the loop, which cannot take the result yet
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        executor.submit(int).result(60)

    asyncio.run(main())
    assert found == [("a lease", "test")]


def test_a_thread_that_hangs_keeps_no_process_alive() -> None:
    code = """
        import asyncio, threading
        from taskrunner.blocking import OverLimit, run_blocking
        async def main():
            try:
                await run_blocking(threading.Event().wait, limit=0.01, doing="waiting")
            except OverLimit as error:
                print(error)
        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("waiting took longer than 0.01 s\n", "")


def test_a_call_that_ends_after_its_loop_prints_no_error() -> None:
    code = """
        import asyncio, threading
        from taskrunner import blocking
        from taskrunner.blocking import OverLimit, run_blocking
        blocking.IDLE_TIME = 0.01
        hung = threading.Event()
        async def main():
            try:
                await run_blocking(hung.wait, limit=0.01, doing="waiting")
            except OverLimit:
                pass
        asyncio.run(main())
        hung.set()
        [thread] = [each for each in threading.enumerate() if each.name == "blocking"]
        thread.join()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""


def test_the_limit_holds_in_virtual_time() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await run_blocking(lambda: 7, limit=3600, doing="counting") == 7
        return loop.time() - began

    assert clock.run(main()) == 0


def test_one_thread_keeps_the_order() -> None:
    executor = DaemonExecutor("test", size=1)
    done: list[int] = []
    wait([executor.submit(done.append, number) for number in range(200)])
    assert done == list(range(200))


def test_calls_run_side_by_side_up_to_the_size() -> None:
    executor = DaemonExecutor("test", size=3)
    together = threading.Barrier(3)
    calls = [executor.submit(together.wait, 60) for _ in range(9)]
    assert sorted(call.result(60) for call in calls) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_an_executor_that_is_shut_down_takes_no_calls() -> None:
    executor, release = DaemonExecutor("test", size=1), threading.Event()
    begun = executor.submit(release.wait)
    waiting = executor.submit(int)
    executor.shutdown(cancel_futures=True)
    with pytest.raises(RuntimeError, match="the executor test is shut down"):
        executor.submit(int)
    release.set()
    assert begun.result(60)
    assert waiting.cancelled()


def test_the_calls_of_size_one_share_a_daemon_thread() -> None:
    executor = DaemonExecutor("test", size=1)
    threads = {executor.submit(threading.current_thread).result(60) for _ in range(20)}
    assert [thread.daemon for thread in threads] == [True]


def test_an_error_ends_its_call_and_not_the_thread() -> None:
    executor = DaemonExecutor("test", size=1)
    with pytest.raises(ZeroDivisionError):
        executor.submit(lambda: 1 // 0).result(60)
    assert executor.submit(lambda: 7).result(60) == 7


def test_a_call_that_has_not_begun_can_be_cancelled() -> None:
    executor, release = DaemonExecutor("test", size=1), threading.Event()
    begun, never = executor.submit(release.wait), executor.submit(lambda: pytest.fail("it was cancelled"))
    assert never.cancel()
    release.set()
    assert begun.result(60)
    assert executor.submit(int).result(60) == 0


def test_submitted_calls_are_done_after_a_shutdown() -> None:
    executor, release = DaemonExecutor("test", size=1), threading.Event()
    calls = [executor.submit(release.wait), executor.submit(lambda: 7)]
    executor.shutdown()
    release.set()
    assert [call.result(60) for call in calls] == [True, 7]
