"""The races that the driver decides, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from taskrunner.driver import Driver, Step, Stuck
from taskrunner.errors import Bug
from taskrunner.machines.chart import Move, Signal
from taskrunner.machines.task import Attempt, TaskEvent, TaskMachine
from taskrunner.testing import clock

BEGIN, LOADED, EXITED, UPLOADED, CLEANED = (
    Signal(TaskEvent.BEGIN),
    Signal(TaskEvent.LOADED),
    Signal(TaskEvent.EXITED, {"code": 0}),
    Signal(TaskEvent.UPLOADED),
    Signal(TaskEvent.CLEANED),
)
CANCEL = Signal(TaskEvent.CANCEL)
SHUTDOWN = Signal(TaskEvent.SHUTDOWN)
ENDS = {"claimed": BEGIN, "loading": LOADED, "running": EXITED, "uploading": UPLOADED, "cleanup": CLEANED}


class DrivenRun:
    """A task machine and its driver, with their calls recorded; the work of each state can be replaced."""

    def __init__(self, **work: Callable[[], Awaitable[Signal]] | Step) -> None:
        self.calls: list[str] = []
        self.late_errors: list[BaseException] = []
        self.moves: list[Move] = []
        steps = {state: self._step(state, work.get(state)) for state in ENDS}
        self.driver = Driver(
            TaskMachine(Attempt()),
            steps,
            explain=self._explain,
            on_move=self.moves.append,
            on_late_error=self.late_errors.append,
        )

    def _step(self, state: str, given: Callable[[], Awaitable[Signal]] | Step | None) -> Step:
        step = given if isinstance(given, Step) else Step(given or self._ends(state))

        async def work() -> Signal:
            self.calls.append(state)
            return await step.work()

        return Step(work, step.limit, step.undo)

    def _ends(self, state: str) -> Callable[[], Awaitable[Signal]]:
        async def work() -> Signal:
            return ENDS[state]

        return work

    def _explain(self, error: BaseException) -> Signal:
        self.calls.append(f"{type(error).__name__}")
        return Signal(TaskEvent.FATAL, {"message": str(error)})

    @property
    def reason(self) -> str:
        return str(self.driver.machine.model.resolution)

    def run(self, *others: Callable[[], Coroutine[Any, Any, None]]) -> DrivenRun:
        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for other in others:
                    group.create_task(other())
                await self.driver.run()

        clock.run(main())
        return self

    def after(self, seconds: float, *signals: Signal) -> Callable[[], Coroutine[Any, Any, None]]:
        async def send() -> None:
            await asyncio.sleep(seconds)
            for signal in signals:
                self.driver.tell(signal)

        return send


def lasts(seconds: float, signal: Signal, undoing: float = 0.0, undone: list[str] | None = None) -> Any:
    async def work() -> Signal:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(undoing)
            if undone is not None:
                undone.append("undone")
            raise
        return signal

    return work


def test_the_work_of_each_state_is_done_in_order() -> None:
    driven = DrivenRun().run()
    assert driven.calls == ["claimed", "loading", "running", "uploading", "cleanup"]
    assert [move.event for move in driven.moves] == ["begin", "loaded", "exited", "uploaded", "cleaned"]


def test_a_move_is_reported_before_the_work_of_the_new_state_begins() -> None:
    seen: list[str] = []

    async def load() -> Signal:
        seen.append(driven.moves[-1].target)
        return LOADED

    driven = DrivenRun(loading=load)
    driven.run()
    assert seen == ["loading"]


def test_the_work_of_a_new_state_waits_until_the_old_work_is_undone() -> None:
    order: list[str] = []

    async def clean() -> Signal:
        order.append("cleanup")
        return CLEANED

    driven = DrivenRun(running=lasts(3600, EXITED, undoing=30, undone=order), cleanup=clean)
    driven.run(driven.after(10, CANCEL))
    assert order == ["undone", "cleanup"]
    assert driven.reason == "exception (canceled)"


def test_an_interruption_in_the_same_tick_as_the_result_wins() -> None:
    async def execute() -> Signal:
        asyncio.get_running_loop().call_soon(driven.driver.tell, CANCEL)
        return EXITED

    driven = DrivenRun(running=execute)
    driven.run()
    assert driven.reason == "exception (canceled)"
    assert "uploading" not in driven.calls


def test_a_result_before_the_interruption_stands_and_the_new_state_decides() -> None:
    async def execute() -> Signal:
        return EXITED

    async def upload() -> Signal:
        driven.driver.tell(SHUTDOWN)
        return UPLOADED

    driven = DrivenRun(running=execute, uploading=upload)
    driven.run()
    assert driven.reason == "completed"


def test_a_cancel_during_a_slow_kill_skips_the_state_that_had_not_begun() -> None:
    undone: list[str] = []
    driven = DrivenRun(running=lasts(3600, EXITED, undoing=20, undone=undone))
    driven.run(driven.after(5, Signal(TaskEvent.TIMEOUT, {"message": "long"})), driven.after(10, CANCEL))
    assert driven.calls == ["claimed", "loading", "running", "cleanup"]
    assert (undone, driven.reason) == (["undone"], "exception (canceled)")


def test_a_hanging_kill_is_given_up_and_reported() -> None:
    async def hangs() -> Signal:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(90)
        return EXITED

    driven = DrivenRun(running=Step(hangs, undo=15))
    driven.run(driven.after(5, CANCEL), driven.after(200))
    assert driven.calls[-1] == "cleanup"
    assert [type(error) for error in driven.late_errors] == [Stuck]


def test_an_error_of_a_disowned_step_is_reported() -> None:
    async def breaks() -> Signal:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as interrupted:
            raise OSError("the container is stuck") from interrupted
        return EXITED

    driven = DrivenRun(running=breaks)
    driven.run(driven.after(5, CANCEL))
    assert [str(error) for error in driven.late_errors] == ["the container is stuck"]
    assert driven.reason == "exception (canceled)"


def test_a_late_error_of_a_step_that_was_given_up_is_reported() -> None:
    async def breaks_late() -> Signal:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as interrupted:
            await asyncio.sleep(60)
            raise OSError("late") from interrupted
        return EXITED

    driven = DrivenRun(running=Step(breaks_late, undo=15))
    driven.run(driven.after(5, CANCEL), driven.after(100))
    assert [str(error) for error in driven.late_errors[1:]] == ["late"]


def test_a_late_result_of_a_step_that_was_given_up_changes_nothing() -> None:
    async def returns_late() -> Signal:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(60)
        return EXITED

    driven = DrivenRun(running=Step(returns_late, undo=15))
    driven.run(driven.after(5, SHUTDOWN), driven.after(100))
    assert driven.reason == "exception (worker-shutdown)"


def test_a_step_over_its_limit_is_fatal() -> None:
    undone: list[str] = []
    driven = DrivenRun(uploading=Step(lasts(3600, UPLOADED, undone=undone), limit=60))
    driven.run()
    assert driven.calls == ["claimed", "loading", "running", "uploading", "OverLimit", "cleanup"]
    assert undone == ["undone"]
    message = driven.driver.machine.model.resolution.message
    assert message == "uploading took longer than the 60 s that it may take"


@pytest.mark.parametrize("state", list(ENDS))
def test_an_error_of_a_step_is_explained_and_the_run_still_ends(state: str) -> None:
    async def breaks() -> Signal:
        raise OSError("disk")

    driven = DrivenRun(**{state: breaks})
    driven.run()
    assert driven.driver.machine.over
    assert "OSError" in driven.calls
    assert driven.reason == "exception (internal-error)"


def test_a_step_that_returns_a_wrong_event_is_an_internal_error() -> None:
    async def wrong() -> Signal:
        return CLEANED

    driven = DrivenRun(loading=wrong)
    driven.run()
    assert "Refused" in driven.calls
    assert driven.reason == "exception (internal-error)"


def test_a_step_that_cancels_itself_is_an_internal_error() -> None:
    async def cancels_itself() -> Signal:
        raise asyncio.CancelledError

    driven = DrivenRun(running=cancels_itself)
    driven.run()
    assert driven.reason == "exception (internal-error)"


def test_a_cancelled_driver_waits_until_its_step_is_undone() -> None:
    undone: list[str] = []
    driven = DrivenRun(running=lasts(3600, EXITED, undoing=30, undone=undone))

    async def main() -> None:
        driving = asyncio.create_task(driven.driver.run())
        await asyncio.sleep(10)
        driving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await driving

    clock.run(main())
    assert undone == ["undone"]


def test_after_the_end_nothing_happens() -> None:
    driven = DrivenRun().run()
    driven.driver.tell(CANCEL)
    assert driven.reason == "completed"


def test_a_state_without_a_step_is_refused() -> None:
    with pytest.raises(Bug, match="cleanup"):
        Driver(TaskMachine(Attempt()), {state: Step(lasts(0, BEGIN)) for state in ENDS if state != "cleanup"}, str)  # type: ignore[arg-type]


def test_a_step_that_calls_exit_ends_its_own_run_only() -> None:
    async def exits() -> Signal:
        raise SystemExit(3)

    driven = DrivenRun(running=exits)
    driven.run()
    assert driven.driver.machine.over
    assert driven.reason == "exception (internal-error)"


# ---- a chart whose listeners raise ----------------------------------------------------------------------


class FailingListener:
    """A listener that raises once, before or after the move."""

    def __init__(self, when: str) -> None:
        self._when = when

    def before_transition(self, event: str) -> None:
        self._raise("before", event)

    def after_transition(self, event: str) -> None:
        self._raise("after", event)

    def _raise(self, when: str, event: str) -> None:
        if (when, event) == (self._when, "exited"):
            raise ZeroDivisionError("a bug of a listener")


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_error_of_a_listener_is_explained_and_the_run_still_ends(when: str) -> None:
    driven = DrivenRun()
    driven.driver.machine.add_listener(FailingListener(when))
    driven.run()
    assert "ZeroDivisionError" in driven.calls
    assert driven.calls[-1] == "cleanup"
    assert driven.driver.machine.over


def test_a_move_with_an_error_of_a_listener_interrupts_the_step() -> None:
    undone: list[str] = []

    class FailingOnCancel(FailingListener):
        def _raise(self, when: str, event: str) -> None:
            if (when, event) == ("after", "cancel"):
                raise ZeroDivisionError("a bug of a listener")

    driven = DrivenRun(running=lasts(3600, EXITED, undone=undone))
    driven.driver.machine.add_listener(FailingOnCancel("after"))
    driven.run(driven.after(60, CANCEL))
    assert undone == ["undone"]
    assert driven.driver.machine.over
