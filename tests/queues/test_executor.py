import threading

import pytest

from taskrunner.queues.sqlite.executor import Clerk


def test_work_is_done_in_its_order_in_one_thread() -> None:
    clerk = Clerk("clerk")
    done: list[tuple[int, int]] = []
    jobs = [clerk.submit(lambda number=number: done.append((number, threading.get_ident()))) for number in range(50)]
    clerk.shutdown()
    assert all(job.done() for job in jobs)
    assert [number for number, _ in done] == list(range(50))
    assert len({thread for _, thread in done}) == 1


def test_errors_reach_who_waits() -> None:
    clerk = Clerk("clerk")
    failed = clerk.submit(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        failed.result(timeout=60)
    assert clerk.submit(lambda: 7).result(timeout=60) == 7
    clerk.shutdown()


def test_what_has_not_begun_can_be_cancelled() -> None:
    clerk, gate, began = Clerk("clerk"), threading.Event(), threading.Event()
    first = clerk.submit(lambda: (began.set(), gate.wait(60)))
    second = clerk.submit(lambda: "never")
    third = clerk.submit(lambda: "neither")
    assert began.wait(60)
    assert second.cancel()
    clerk.shutdown(wait=False, cancel_futures=True)
    gate.set()
    first.result(timeout=60)
    clerk.shutdown()
    assert second.cancelled()
    assert not third.done()


def test_the_thread_is_a_daemon() -> None:
    clerk = Clerk("clerk")
    assert clerk.submit(lambda: threading.current_thread().daemon).result(timeout=60)
    clerk.shutdown()
