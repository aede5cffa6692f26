"""Hours in milliseconds: an event loop on a clock that moves only when every task waits.

`run(main())` is `asyncio.run(main())` in virtual time. Whenever no task is ready, the clock jumps to the next timer, so
a test of a task that runs for nine hours takes milliseconds, and its outcome does not depend on the machine::

    def test_the_limit() -> None:
        clock.run(scenario(), start=datetime(2030, 1, 1, tzinfo=UTC))

- When no task is ready and no timer is set, nothing can happen any more: `Deadlock`, which names each task and the
  line where it waits.
- `loop.time()` is always virtual. With freezegun installed (`taskrunner-worker[testing]`), `time.time()`,
  `time.monotonic()` and `datetime.now()` agree with it, in every module; without, these three stay real.
- Work in threads (`run_blocking`, `asyncio.to_thread`, `loop.run_in_executor`) takes real time, so the clock stands
  still until it has ended. A thread that works for longer than PATIENCE counts as hung, and the clock moves again.
- Child processes and sockets are not seen: code that uses them is tested on the real clock, by `asyncio.run`.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from types import CodeType
from typing import Any, TypeVar

T = TypeVar("T")

START = datetime(2030, 1, 1, tzinfo=UTC)
"""When virtual time begins: a date in the future, so that a real date among virtual ones is conspicuous."""

PATIENCE = 10.0
"""Real seconds to wait for a thread: far longer than work in a test takes, shorter than a developer waits."""

MOST_JUMPS = 250_000
"""Jumps after which a task counts as polling forever: two weeks of every five seconds, in ten seconds of real time."""

IGNORED = ["subprocess"]
"""Modules that keep real time, beside those that freezegun ignores itself: a thread in `subprocess.run(timeout=...)`
waits for a real process."""

_MICRO = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Deadlock(RuntimeError):
    """No task can go on, or one polls forever. The text names every task and the line where it waits."""


def run(main: Coroutine[Any, Any, T], *, start: datetime = START) -> T:
    """Runs a coroutine to its end in virtual time that begins at `start`, an aware datetime.

    Raises: Deadlock, and what the coroutine raises.
    """
    with _freezing(start) as freeze, asyncio.Runner(loop_factory=lambda: _Loop(_Time(start, freeze))) as runner:
        return runner.run(main)


@contextmanager
def _freezing(start: datetime) -> Iterator[Callable[[timedelta], object]]:
    """Stops the time of day where freezegun is installed; yields the function that moves it."""
    if not find_spec("freezegun"):
        yield lambda _: None
        return
    from freezegun import api, config, freeze_time

    ignored = [*config.settings.default_ignore_list, *IGNORED]
    with freeze_time(start.astimezone(UTC).replace(tzinfo=None), ignore=ignored) as frozen:
        api.ignore_lists[-1] = ()  # an ignored module keeps its imports; the code that a thread calls sees virtual time
        yield frozen.tick


class _Time:
    """Virtual time in whole microseconds, as freezegun counts it: floats would drift apart from it."""

    def __init__(self, start: datetime, freeze: Callable[[timedelta], object]) -> None:
        self.micros = (start - _EPOCH) // timedelta(microseconds=1)
        self._freeze = freeze
        self.jumps = 0

    def now(self) -> float:
        seconds, micros = divmod(self.micros, _MICRO)
        return seconds + micros / 1e6  # freezegun's own formula: the same number to the last bit

    def jump(self, seconds: float) -> None:
        step = math.ceil(seconds * _MICRO)  # upwards: else a timer would be a fraction too early, again and again
        self.micros += step
        self.jumps += 1
        self._freeze(timedelta(microseconds=step))


class _Selector(selectors.DefaultSelector):
    """Where a loop waits for the next event. This one moves the clock instead."""

    loop: _Loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.loop.threads:
            ready = super().select(PATIENCE)
            if ready:
                return ready
            self.loop.threads.clear()  # they hang: a limit in the code under test can only pass when time goes on
        self._pass_time(timeout)
        return []

    def _pass_time(self, timeout: float | None) -> None:
        if timeout is None:
            raise Deadlock(f"no task is ready and no timer is set\n{_tasks(self.loop)}")
        if self.loop.virtual.jumps >= MOST_JUMPS:
            raise Deadlock(f"a task polls forever: {MOST_JUMPS} timers have passed\n{_tasks(self.loop)}")
        self.loop.virtual.jump(timeout)


class _Loop(asyncio.SelectorEventLoop):
    """A loop on virtual time. `threads` are the calls that threads work on."""

    def __init__(self, virtual: _Time) -> None:
        self.virtual = virtual
        self.threads: set[asyncio.Future[Any]] = set()
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self._clock_resolution = 1 / _MICRO  # else a timer that is due now never fires

    def time(self) -> float:
        return self.virtual.now()

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)
        self._working(future)
        return future

    async def shutdown_default_executor(self, *limit: Any) -> None:
        """Keeps the clock from moving while asyncio joins the threads of its own executor, which it does in a thread
        that no future stands for. The library has threads that are never joined; code under test may use asyncio's.
        """
        joined: asyncio.Future[None] = self.create_future()
        self._working(joined)
        try:
            await super().shutdown_default_executor(*limit)
        finally:
            joined.cancel()

    def _working(self, future: asyncio.Future[Any]) -> None:
        self.threads.add(future)
        future.add_done_callback(self.threads.discard)


# ---- the tasks of a deadlock ----------------------------------------------------------------------------


def _tasks(loop: asyncio.AbstractEventLoop) -> str:
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    return "\n".join(f"  {task.get_name()} waits at {_where(task.get_coro())}" for task in tasks) or "  no task is left"


def _where(coroutine: object) -> str:
    """The chain of awaits, innermost first: `caches.py:31 exclusive, called by run.py:80 load`."""
    chain = []
    while coroutine is not None:
        for kind in ("cr", "ag", "gi"):
            frame, inner = getattr(coroutine, f"{kind}_frame", None), getattr(coroutine, f"{kind}_await", None)
            if frame is not None:
                chain.append(_place(frame.f_code, frame.f_lineno))
                break
        else:
            break
        coroutine = inner
    return ", called by ".join(reversed(chain)) or "an unknown place"


def _place(code: CodeType, line: int) -> str:
    return f"{code.co_filename.rpartition('/')[2]}:{line} {code.co_qualname}"


__all__ = ["START", "Deadlock", "run"]
