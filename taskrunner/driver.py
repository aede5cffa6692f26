"""The driver: one loop that runs the work of whichever state a machine is in.

The work of a state is a coroutine; what it returns is the next event. An event from outside that moves the machine
cancels that work, whose own `finally` undoes it, and the work of the new state starts only when the old one has
finished undoing itself. Four races are decided here, and nowhere else:

* An interrupted step is *disowned* as an object: what it still returns or raises is not an event any more. Comparing
  states would not be enough, since A → B → A can pass in one tick.
* A result and an interruption in the same tick: whichever reached `tell` first has moved the machine, and the other
  meets the new state, which decides.
* A step that takes longer than its limit, or an undoing that does, is given up, not waited for: `fatal` moves the
  machine on, and the step is watched in the background, so that what it raises one day is still heard.
* The driver itself cancelled: the step undoes itself first.
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
    """The work of a state was interrupted, and did not finish undoing itself. Told to `on_stray`."""

    def __init__(self, state: str, seconds: float) -> None:
        super().__init__(f"{state} was interrupted and did not end within {seconds:g} s: something may be left behind")


@attrs.frozen
class Step:
    """What is done in one state."""

    work: Work
    limit: float = NO_LIMIT
    """Seconds until it is interrupted by force."""
    undo: float = 60.0
    """Seconds that it has to undo itself once it is interrupted. A minute lets a container engine under load answer."""


@attrs.define(eq=False)
class Driver:
    """Drives one machine. All methods are called from one event loop."""

    machine: Machine[Any]
    steps: Mapping[str, Step]
    """One for each state that is not final."""
    explain: Callable[[BaseException], Signal]
    """Which event it is when a step raises. It must be one that moves the machine, or the step is done again; it is
    never asked about a cancellation."""
    on_move: Callable[[Move], None] = lambda _: None
    """Told of each event, moving or staying, before it is acted on. Must not raise."""
    on_stray: Callable[[BaseException], None] = lambda _: None
    """Called with what a disowned step raised, which has no other caller. Must not raise."""
    _step: asyncio.Task[Signal] | None = None
    _moved: asyncio.Future[None] | None = None
    """Done when the step that runs is over in one of its three ways: done, too late, or interrupted."""
    _given_up: set[asyncio.Task[Signal]] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        states = set(self.machine.states) - self.machine.final
        if states != set(self.steps):
            raise Bug(f"these states have no step, or are none: {', '.join(states ^ set(self.steps))}")

    def tell(self, signal: Signal) -> None:
        """Takes an event in. After the end it is too late for any, and nothing happens. An action or a listener of the
        chart that raises is explained like a step that raised.

        Raises: Refused, when the machine does not know the event in this state.
        """
        if self.machine.over:
            return
        try:
            self._take(signal)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the machine must still come to its end
            self._take(self.explain(error))

    def _take(self, signal: Signal) -> None:
        before = self.machine.at
        try:
            self.on_move(self.machine.take(signal))
        finally:
            if self.machine.at != before:  # a listener may raise after the move
                self._disown(str(signal.event))

    async def run(self) -> None:
        """Runs the machine to its end. Raises only CancelledError, when it is itself cancelled."""
        while not self.machine.over:
            state = self.machine.at
            self._moved = asyncio.get_running_loop().create_future()
            step = self._step = asyncio.create_task(
                _coroutine(self.steps[state].work), name=f"{state} of {self.machine.kind}"
            )
            step.add_done_callback(partial(_done, self._moved))
            try:
                await self._attend(step, self._moved, state)
            except asyncio.CancelledError:
                step.cancel("the driver is cancelled")
                await self._undone(step, state)
                raise

    async def _attend(self, step: asyncio.Task[Signal], moved: asyncio.Future[None], state: str) -> None:
        """Waits until a step is over, and acts on that."""
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
            await self._undone(step, state)

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

    async def _undone(self, step: asyncio.Task[Signal], state: str) -> None:
        """Waits until an interrupted step has undone itself, within its limit; cancelling this gives up at once."""
        if self._step is step:
            self._step = None
        try:
            await asyncio.wait([step], timeout=self.steps[state].undo)
        finally:
            if step.done():
                self._hear(step)
            else:
                self._give_up(step, state)

    def _give_up(self, step: asyncio.Task[Signal], state: str) -> None:
        self.on_stray(Stuck(state, self.steps[state].undo))
        self._given_up.add(step)
        step.add_done_callback(self._given_up.discard)
        step.add_done_callback(self._hear)

    def _hear(self, step: asyncio.Task[Signal]) -> None:
        if not step.cancelled() and (error := step.exception()):
            self.on_stray(error)


async def _coroutine(work: Work) -> Signal:
    try:
        return await work()
    except SystemExit as exit_called:  # asyncio would end the whole program, and every other machine with it
        raise Bug(f"the work called sys.exit({exit_called.code!r})") from exit_called


def _done(waiting: asyncio.Future[None], _: object = None) -> None:
    if not waiting.done():
        waiting.set_result(None)
