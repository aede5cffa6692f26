"""The life of a worker.

Theory of operation::

    booting → claiming ⇄ running → shutting_down → stopped

1. `claiming` while there is a free slot and the machine is fit to take work; `running` when every slot is taken, or
   when claiming is paused, because the machine is sick or its operator said so.
2. `shutting_down` is graceful (finish what runs) or immediate (hand it back); it may become more urgent, never less.
3. A run can still arrive (`took`) while shutting down, from a claim that was in flight: it is counted like every other,
   and the worker is not drained before it is gone.
4. Nothing leads back from `shutting_down`, and `fatal` moves in every state, so every worker stops.
"""

from __future__ import annotations

from enum import StrEnum

import attrs
from statemachine import State

from taskrunner.machines.chart import Chart, stay
from taskrunner.machines.machine import Machine


class WorkerState(StrEnum):
    """Where a worker is."""

    BOOTING = "booting"
    CLAIMING = "claiming"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting_down"
    STOPPED = "stopped"


class WorkerEvent(StrEnum):
    """What can happen to a worker: the results of its own work, then what comes from outside."""

    BOOTED = "booted"
    POLLED = "polled"
    DRAINED = "drained"

    TOOK = "took"
    ENDED = "ended"
    PAUSED = "paused"
    RESUMED = "resumed"
    SHUTDOWN = "shutdown"
    FATAL = "fatal"


@attrs.define
class Load:
    """How much a worker carries, beside its state."""

    capacity: int = 1
    state: str | None = None
    busy: int = 0
    pause: str = ""
    """Why nothing is claimed, while nothing is."""
    immediate: bool = False
    """How urgent the shutdown is."""
    why: str = ""
    """What began the shutdown."""
    broken: bool = False

    @property
    def full(self) -> bool:
        return self.busy >= self.capacity

    @property
    def free(self) -> int:
        return max(0, self.capacity - self.busy)

    @property
    def idle(self) -> bool:
        return self.busy == 0

    @property
    def paused_now(self) -> bool:
        return bool(self.pause)

    # ---- actions, by the name that the chart gives them ----

    def takes(self) -> None:
        self.busy += 1

    def frees(self) -> None:
        self.busy -= 1

    def pauses(self, why: str) -> None:
        self.pause = why

    def resumes(self) -> None:
        self.pause = ""

    def leaves(self, why: str, *, immediate: bool = False) -> None:
        self.why = self.why or why
        self.immediate = self.immediate or immediate

    def breaks(self, why: str) -> None:
        self.broken = True
        self.leaves(why, immediate=True)


class WorkerChart(Chart[Load]):
    """The declaration: what one worker can be told, and what follows."""

    kind = "worker"

    booting = State(initial=True)
    claiming = State()
    running = State()
    shutting_down = State()
    stopped = State(final=True)

    # What the work of a state ends with.
    booted = booting.to(running, cond="paused_now") | booting.to(claiming)
    polled = claiming.to(running, cond="full") | stay(claiming)
    drained = shutting_down.to(stopped, cond="idle") | stay(shutting_down)

    # What happens to its slots.
    took = stay(booting, claiming, running, shutting_down, on="takes")
    ended = running.to(claiming, unless="paused_now", on="frees") | stay(
        booting, claiming, running, shutting_down, on="frees"
    )

    # Whether it may claim.
    paused = claiming.to(running, on="pauses") | stay(booting, running, shutting_down, on="pauses")
    resumed = running.to(claiming, unless="full", on="resumes") | stay(
        booting, claiming, running, shutting_down, on="resumes"
    )

    # How it ends.
    shutdown = (
        stopped.from_(booting, on="leaves")
        | shutting_down.from_(claiming, running, on="leaves")
        | stay(shutting_down, on="leaves")
    )
    fatal = stopped.from_(booting, shutting_down, on="breaks") | shutting_down.from_(claiming, running, on="breaks")


class WorkerMachine(Machine[Load]):
    """One worker: takes events, and moves as the chart declares. Its model is a Load."""

    chart = WorkerChart
