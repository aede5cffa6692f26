"""Blocking work in daemon threads, each call with a limit of time.

asyncio joins the threads of its own executor when the loop is closed, and the interpreter joins those of
`concurrent.futures` when it exits, so that one call that hangs keeps a process alive long after its limit has passed.
The threads here are daemons, and nothing joins them. A call whose limit has passed is interrupted by a function of its
caller, which closes the connection or kills the program that the thread waits for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS = 128
"""Calls that one executor runs at a time. They are short; when there are more, a disk or a server hangs."""

IDLE_TIME = 10.0
"""Seconds until a thread without work ends: starting one costs some 50 µs, so that bursts share them."""


class OverLimit(TimeoutError):
    """A blocking call took longer than its limit. The text names both."""


async def run_blocking(
    work: Callable[[], T],
    *,
    limit: float,
    doing: str,
    interrupt: Callable[[], None] | None = None,
    grace: float = 0.0,
    discard: Callable[[T], None] | None = None,
    executor: Executor | None = None,
    error: Callable[[str], Exception] = OverLimit,
) -> T:
    """Runs `work` in a daemon thread and returns its result.

    After `limit` seconds, or when the caller is cancelled, `interrupt` is called, which must make the thread end soon
    (it closes its connection). The call then waits `grace` more seconds for the thread. A late result goes to
    `discard`, in a thread of the executor, so that an open file or a lease is not lost. `doing` names the work in the
    error, which `error` makes of the text: `opening a file took longer than 120 s`.

    Raises: OverLimit or the class in `error`, and the errors of `work`.
    """
    job, executor = _Job(work, discard), executor or _shared
    running = asyncio.get_running_loop().run_in_executor(executor, job.run)
    try:
        done, _ = await asyncio.wait([running], timeout=limit)
    except asyncio.CancelledError:
        await _abandon(job, running, interrupt, grace, executor)
        raise
    if done:
        return running.result()
    await _abandon(job, running, interrupt, grace, executor)
    raise error(f"{doing} took longer than {limit:g} s")


async def _abandon(
    job: _Job[T], running: asyncio.Future[T], interrupt: Callable[[], None] | None, grace: float, executor: Executor
) -> None:
    """Ends a call without its caller. Waits for the thread at most `grace` seconds, also when cancelled again."""
    if job.abandon():
        executor.submit(job.discard_late)
    if interrupt and not running.done():
        interrupt()
    try:
        if grace:
            await wait_through(running, grace)
    finally:
        if running.done() and not running.cancelled():
            running.exception()  # retrieved, so that asyncio does not log it: the caller gets another error
        running.cancel()  # else a thread that ends after the loop was closed would raise an error about the loop


async def wait_through(future: asyncio.Future[T], limit: float | None = None) -> None:
    """Waits for the end of work that must not be left half done, `limit` seconds at most. A cancellation of the caller
    does not end the wait; it is raised at its end."""
    loop = asyncio.get_running_loop()
    deadline = None if limit is None else loop.time() + limit
    cancelled = False
    while not future.done() and (deadline is None or loop.time() < deadline):
        try:
            await asyncio.wait([future], timeout=None if deadline is None else deadline - loop.time())
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


class _Job(Generic[T]):
    """One call. Its result goes to its caller, or to `discard` once the call was abandoned."""

    def __init__(self, work: Callable[[], T], discard: Callable[[T], None] | None) -> None:
        self._work, self._discard = work, discard
        self._lock = threading.Lock()
        self._abandoned = False
        self._result: list[T] = []
        """The result, from its arrival until it is discarded."""

    def run(self) -> T:
        result = self._work()
        with self._lock:
            self._result.append(result)
        self.discard_late()
        return result

    def abandon(self) -> bool:
        """Whether the result has arrived already, so that `discard_late` must be called."""
        with self._lock:
            self._abandoned = True
            return bool(self._result and self._discard)

    def discard_late(self) -> None:
        """Discards the result of an abandoned call."""
        with self._lock:
            late = self._result.pop() if self._abandoned and self._result else None
        if late is not None and self._discard:
            self._discard(late)


class DaemonExecutor(Executor):
    """An executor whose threads are daemons and end when they are idle. With `size` 1 the calls keep their order.

    A call that hangs occupies its thread for as long as it hangs, and keeps no process alive.
    """

    def __init__(self, name: str, size: int = MAX_THREADS) -> None:
        self._name, self._size = name, size
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._waiting = 0
        """Threads without work, less the calls that no thread has taken yet."""
        self._closed = False

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Raises RuntimeError after `shutdown`."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the executor {self._name} is shut down")
            self._jobs.put((future, lambda: work(*args, **kwargs)))
            self._waiting -= 1
            if self._waiting < 0 and self._threads < self._size:
                self._threads += 1
                self._waiting += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002  the base has it
        """Takes no more calls. Submitted calls are still done, unless they are cancelled; nothing waits for them."""
        with self._lock:
            self._closed = True
        while cancel_futures:
            try:
                future, _ = self._jobs.get_nowait()
            except Empty:
                return
            future.cancel()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            _perform(*job)
            with self._lock:
                self._waiting += 1

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        while True:
            try:
                return self._jobs.get(timeout=IDLE_TIME)
            except Empty:
                with self._lock:
                    if not self._jobs.empty():
                        continue  # a call was submitted in this moment, and `_waiting` counts this thread
                    self._threads -= 1
                    self._waiting -= 1
                    return None


def _perform(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001  the future carries every error to the caller
        future.set_exception(error)
    else:
        future.set_result(result)


_shared = DaemonExecutor("blocking")
"""For the calls without an executor of their own."""
