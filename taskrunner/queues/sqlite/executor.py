"""One thread that does blocking work in the order in which it was handed in.

`concurrent.futures.ThreadPoolExecutor` is joined when the interpreter ends, so that one call that is stuck on a lock
would keep a process from ending; this thread is a daemon, and its work may be abandoned.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Job = Callable[[], None]


class Clerk(Executor):
    """An executor of one daemon thread, which starts with the first job."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done: Future[T] = Future()
        self._jobs.put(lambda: _perform(done, lambda: work(*args, **kwargs)))
        if self._thread.ident is None:
            self._thread.start()
        return done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the thread after the work that was handed in, or before what has not begun of it."""
        while cancel_futures and not self._jobs.empty():
            self._jobs.get_nowait()
        self._jobs.put(None)
        if wait and self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _perform(done: Future[Any], work: Callable[[], Any]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001  whoever waits for the future gets it, whatever it is
        done.set_exception(error)
    else:
        done.set_result(result)
