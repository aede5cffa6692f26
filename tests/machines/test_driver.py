"""The driver decides the races; all of them happen here on a virtual clock."""

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


class Story:
    """A driven task machine that writes down what happens; the work of each state can be replaced."""

    def __init__(self, **work: Callable[[], Awaitable[Signal]] | Step) -> None:
        self.told: list[str] = []
        self.strays: list[BaseException] = []
        self.moves: list[Move] = []
        steps = {state: self._step(state, work.get(state)) for state in ENDS}
        self.driver = Driver(
            TaskMachine(Attempt()),
            steps,
            explain=self._explain,
            on_move=self.moves.append,
            on_late_error=self.strays.append,
        )

    def _step(self, state: str, given: Callable[[], Awaitable[Signal]] | Step | None) -> Step:
        step = given if isinstance(given, Step) else Step(given or self._ends(state))

        async def work() -> Signal:
            self.told.append(state)
            return await step.work()

        return Step(work, step.limit, step.undo)

    def _ends(self, state: str) -> Callable[[], Awaitable[Signal]]:
        async def work() -> Signal:
            return ENDS[state]

        return work

    def _explain(self, error: BaseException) -> Signal:
        self.told.append(f"{type(error).__name__}")
        return Signal(TaskEvent.FATAL, {"message": str(error)})

    @property
    def reason(self) -> str:
        return str(self.driver.machine.model.resolution)

    def run(self, *others: Callable[[], Coroutine[Any, Any, None]]) -> Story:
        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for other in others:
                    group.create_task(other())
                await self.driver.run()

        clock.run(main())
        return self

    def after(self, seconds: float, *signals: Signal) -> Callable[[], Coroutine[Any, Any, None]]:
        async def tell() -> None:
            await asyncio.sleep(seconds)
            for signal in signals:
                self.driver.tell(signal)

        return tell


def takes(seconds: float, signal: Signal, undoing: float = 0.0, undone: list[str] | None = None) -> Any:
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
    story = Story().run()
    assert story.told == ["claimed", "loading", "running", "uploading", "cleanup"]
    assert [move.event for move in story.moves] == ["begin", "loaded", "exited", "uploaded", "cleaned"]


def test_a_move_is_told_before_the_work_of_the_new_state_begins() -> None:
    seen: list[str] = []

    async def load() -> Signal:
        seen.append(story.moves[-1].target)
        return LOADED

    story = Story(loading=load)
    story.run()
    assert seen == ["loading"]


def test_new_work_waits_until_the_old_has_undone_itself() -> None:
    order: list[str] = []

    async def clean() -> Signal:
        order.append("cleanup")
        return CLEANED

    story = Story(running=takes(3600, EXITED, undoing=30, undone=order), cleanup=clean)
    story.run(story.after(10, CANCEL))
    assert order == ["undone", "cleanup"]
    assert story.reason == "exception (canceled)"


def test_an_interruption_in_the_same_tick_as_the_result_wins() -> None:
    async def execute() -> Signal:
        asyncio.get_running_loop().call_soon(story.driver.tell, CANCEL)
        return EXITED

    story = Story(running=execute)
    story.run()
    assert story.reason == "exception (canceled)"
    assert "uploading" not in story.told


def test_a_result_before_the_interruption_stands_and_the_new_state_decides() -> None:
    async def execute() -> Signal:
        return EXITED

    async def upload() -> Signal:
        story.driver.tell(SHUTDOWN)
        return UPLOADED

    story = Story(running=execute, uploading=upload)
    story.run()
    assert story.reason == "completed"


def test_a_cancel_during_a_slow_kill_skips_the_state_that_had_not_begun() -> None:
    undone: list[str] = []
    story = Story(running=takes(3600, EXITED, undoing=20, undone=undone))
    story.run(story.after(5, Signal(TaskEvent.TIMEOUT, {"message": "long"})), story.after(10, CANCEL))
    assert story.told == ["claimed", "loading", "running", "cleanup"]
    assert (undone, story.reason) == (["undone"], "exception (canceled)")


def test_a_kill_that_hangs_is_given_up_and_said() -> None:
    async def stubborn() -> Signal:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(90)
        return EXITED

    story = Story(running=Step(stubborn, undo=15))
    story.run(story.after(5, CANCEL), story.after(200))
    assert story.told[-1] == "cleanup"
    assert [type(stray) for stray in story.strays] == [Stuck]


def test_a_step_that_raises_after_it_was_disowned_is_heard() -> None:
    async def breaks() -> Signal:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as interrupted:
            raise OSError("the container is stuck") from interrupted
        return EXITED

    story = Story(running=breaks)
    story.run(story.after(5, CANCEL))
    assert [str(stray) for stray in story.strays] == ["the container is stuck"]
    assert story.reason == "exception (canceled)"


def test_a_step_that_was_given_up_and_raises_at_last_is_heard() -> None:
    async def breaks_late() -> Signal:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as interrupted:
            await asyncio.sleep(60)
            raise OSError("late") from interrupted
        return EXITED

    story = Story(running=Step(breaks_late, undo=15))
    story.run(story.after(5, CANCEL), story.after(100))
    assert [str(stray) for stray in story.strays[1:]] == ["late"]


def test_a_result_that_comes_after_the_end_of_patience_changes_nothing() -> None:
    async def shrugs() -> Signal:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(60)
        return EXITED

    story = Story(running=Step(shrugs, undo=15))
    story.run(story.after(5, SHUTDOWN), story.after(100))
    assert story.reason == "exception (worker-shutdown)"


def test_a_step_over_its_limit_is_fatal() -> None:
    undone: list[str] = []
    story = Story(uploading=Step(takes(3600, UPLOADED, undone=undone), limit=60))
    story.run()
    assert story.told == ["claimed", "loading", "running", "uploading", "OverLimit", "cleanup"]
    assert undone == ["undone"]
    message = story.driver.machine.model.resolution.message
    assert message == "uploading took longer than the 60 s that it may take"


@pytest.mark.parametrize("state", list(ENDS))
def test_a_step_that_raises_is_explained_and_the_run_still_ends(state: str) -> None:
    async def breaks() -> Signal:
        raise OSError("disk")

    story = Story(**{state: breaks})
    story.run()
    assert story.driver.machine.over
    assert "OSError" in story.told
    assert story.reason == "exception (internal-error)"


def test_work_that_ends_with_the_wrong_event_is_a_fault_of_ours() -> None:
    async def confused() -> Signal:
        return CLEANED

    story = Story(loading=confused)
    story.run()
    assert "Refused" in story.told
    assert story.reason == "exception (internal-error)"


def test_work_that_cancels_itself_is_a_fault_of_ours() -> None:
    async def gives_up() -> Signal:
        raise asyncio.CancelledError

    story = Story(running=gives_up)
    story.run()
    assert story.reason == "exception (internal-error)"


def test_a_driver_that_is_cancelled_lets_its_work_undo_itself() -> None:
    undone: list[str] = []
    story = Story(running=takes(3600, EXITED, undoing=30, undone=undone))

    async def main() -> None:
        driving = asyncio.create_task(story.driver.run())
        await asyncio.sleep(10)
        driving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await driving

    clock.run(main())
    assert undone == ["undone"]


def test_after_the_end_nothing_happens() -> None:
    story = Story().run()
    story.driver.tell(CANCEL)
    assert story.reason == "completed"


def test_a_state_without_work_is_refused() -> None:
    with pytest.raises(Bug, match="cleanup"):
        Driver(TaskMachine(Attempt()), {state: Step(takes(0, BEGIN)) for state in ENDS if state != "cleanup"}, str)  # type: ignore[arg-type]


def test_work_that_calls_exit_ends_its_own_run_and_nothing_else() -> None:
    async def leaves() -> Signal:
        raise SystemExit(3)

    story = Story(running=leaves)
    story.run()
    assert story.driver.machine.over
    assert story.reason == "exception (internal-error)"


# ---- a chart whose listeners raise ----------------------------------------------------------------------


class Sick:
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
def test_a_listener_that_raises_is_explained_and_the_run_still_ends(when: str) -> None:
    story = Story()
    story.driver.machine.add_listener(Sick(when))
    story.run()
    assert "ZeroDivisionError" in story.told
    assert story.told[-1] == "cleanup"
    assert story.driver.machine.over


def test_a_step_whose_state_was_left_by_a_listener_that_raised_is_interrupted() -> None:
    undone: list[str] = []

    class SickOnCancel(Sick):
        def _raise(self, when: str, event: str) -> None:
            if (when, event) == ("after", "cancel"):
                raise ZeroDivisionError("a bug of a listener")

    story = Story(running=takes(3600, EXITED, undone=undone))
    story.driver.machine.add_listener(SickOnCancel("after"))
    story.run(story.after(60, CANCEL))
    assert undone == ["undone"]
    assert story.driver.machine.over
