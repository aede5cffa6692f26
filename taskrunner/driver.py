"""The driver: one loop that runs the work of whichever state a machine is in.

The work of a state is a coroutine; its result is the next event. An event from outside that moves the machine cancels
that work, whose own `finally` undoes it. The work of the new state starts only when the old one has been undone. Four
races are decided here, and nowhere else:

* An interrupted step is *disowned* as an object: its result or error is not an event any more. Comparing states would
  not be enough, since A → B → A can pass in one tick.
* A result and an interruption in the same tick: the first one to reach `tell` has moved the machine, and the new state
  decides about the other.
* A step over its limit, or over its limit for undoing, is given up, not waited for: `fatal` moves the machine on. The
  step goes on in the background, and a late error of it is still reported.
* The driver itself cancelled: the step is undone first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import attrs

from taskrunner.blocking import OverLimit
from taskrunner.errors import Bug
from taskrunner.machines.chart import Move, Refused, Signal
from taskrunner.machines.machine import Machine

Work = Callable[[], Awaitable[Signal]]
NO_LIMIT = float("inf")


class Stuck(Exception):
    """The work of a state was interrupted, and was not undone in time. Reported by `on_late_error`."""

    def __init__(self, state: str, seconds: float) -> None:
        super().__init__(f"{state} was interrupted and did not end within {seconds:g} s: something may be left behind")


@attrs.frozen
class Step:
    """The work of one state."""

    work: Work
    limit: float = NO_LIMIT
    """Seconds until it is interrupted by force."""
    undo: float = 60.0
    """Seconds for undoing it after an interruption. A minute lets a container engine under load answer."""


@attrs.define(eq=False)
class Driver:
    """Drives one machine. All methods are called from one event loop."""

    machine: Machine[Any]
    steps: Mapping[str, Step]
    """A step for each state that is not final."""
    explain: Callable[[BaseException], Signal]
    """Maps an error of a step to an event. The event must move the machine, or the step is done again. It is never
    called for a cancellation."""
    on_move: Callable[[Move], None] = lambda _: None
    """Called for each event, moving or staying, before the work of the new state begins. Must not raise."""
    on_late_error: Callable[[BaseException], None] = lambda _: None
    """Called with an error of a disowned step, which has no other caller. Must not raise."""
    _step: asyncio.Task[Signal] | None = None
    _moved: asyncio.Future[None] | None = None
    """Done when the current step is over: finished, past its limit, or interrupted."""
    _given_up: set[asyncio.Task[Signal]] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        states = set(self.machine.states) - self.machine.final
        if states != set(self.steps):
            raise Bug(f"these states have no step, or are none: {', '.join(states ^ set(self.steps))}")

    def tell(self, signal: Signal) -> None:
        """Takes an event. After the end, nothing happens. An error of an action or a listener of the chart is explained
        like an error of a step.

        Raises: Refused, when the machine does not know the event in this state.
        """
        if self.machine.over:
            return
        try:
            self._take(signal)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001  the machine must come to its end after any error
            self._take(self.explain(error))

    def _take(self, signal: Signal) -> None:
        before = self.machine.at
        try:
            self.on_move(self.machine.take(signal))
        finally:
            if self.machine.at != before:  # a listener may raise after the move
                self._disown(str(signal.event))

    async def run(self) -> None:
        """Runs the machine to its end. Raises only CancelledError, when the driver is cancelled."""
        while not self.machine.over:
            state = self.machine.at
            self._moved = asyncio.get_running_loop().create_future()
            step = self._step = asyncio.create_task(
                _coroutine(self.steps[state].work), name=f"{state} of {self.machine.kind}"
            )
            step.add_done_callback(partial(_done, self._moved))
            try:
                await self._finish(step, self._moved, state)
            except asyncio.CancelledError:
                step.cancel("the driver is cancelled")
                await self._wait_for_undo(step, state)
                raise

    async def _finish(self, step: asyncio.Task[Signal], moved: asyncio.Future[None], state: str) -> None:
        """Waits for the end of a step and takes its event, or waits until it is undone."""
        limit = self.steps[state].limit
        timer = None if limit == NO_LIMIT else asyncio.get_running_loop().call_later(limit, _done, moved)
        try:
            await moved
        finally:
            if timer:
                timer.cancel()
        if self._step is step and not step.done():
            self.tell(self.explain(OverLimit(f"{state} took longer than the {limit:g} s that it may take")))
        if self._step is step and step.done():
            self._step = None
            self._tell_outcome(self._outcome(step))
        else:
            await self._wait_for_undo(step, state)

    def _tell_outcome(self, signal: Signal) -> None:
        try:
            self.tell(signal)
        except Refused as wrong_event:
            self.tell(self.explain(wrong_event))

    def _outcome(self, step: asyncio.Task[Signal]) -> Signal:
        if step.cancelled():
            return self.explain(Bug("the work cancelled itself"))
        if error := step.exception():
            return self.explain(error)
        return step.result()

    def _disown(self, event: str) -> None:
        if self._step:
            self._step.cancel(event)
            self._step = None
        if self._moved:
            _done(self._moved)

    async def _wait_for_undo(self, step: asyncio.Task[Signal], state: str) -> None:
        """Waits until an interrupted step is undone, within its limit. A cancellation of this gives the step up."""
        if self._step is step:
            self._step = None
        try:
            await asyncio.wait([step], timeout=self.steps[state].undo)
        finally:
            if step.done():
                self._report_error(step)
            else:
                self._give_up(step, state)

    def _give_up(self, step: asyncio.Task[Signal], state: str) -> None:
        self.on_late_error(Stuck(state, self.steps[state].undo))
        self._given_up.add(step)
        step.add_done_callback(self._given_up.discard)
        step.add_done_callback(self._report_error)

    def _report_error(self, step: asyncio.Task[Signal]) -> None:
        if not step.cancelled() and (error := step.exception()):
            self.on_late_error(error)


async def _coroutine(work: Work) -> Signal:
    try:
        return await work()
    except SystemExit as exit_called:  # asyncio would end the whole program, and every other machine with it
        raise Bug(f"the work called sys.exit({exit_called.code!r})") from exit_called


def _done(waiting: asyncio.Future[None], _: object = None) -> None:
    if not waiting.done():
        waiting.set_result(None)
