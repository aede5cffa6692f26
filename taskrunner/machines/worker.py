"""The life of a worker.

Theory of operation::

    booting → claiming ⇄ running → shutting_down → stopped
                    ⇅      ⇅
                     paused

1. `claiming` while there is a free slot and the machine is fit to take work; `running` when every slot is taken;
   `paused` while nothing is claimed, because the machine is sick or its operator said so. What runs goes on.
2. `shutting_down` is graceful (`shutdown`: finish what runs) or immediate (`shutdown_now`: hand it back); it may become
   more urgent, never less.
3. A run can still arrive (`took`) while shutting down, from a claim that was in flight: it is counted like every other,
   the outcome `hands_back` says that it is handed back, and the worker is not drained before it has ended.
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
    PAUSED = "paused"
    SHUTTING_DOWN = "shutting_down"
    STOPPED = "stopped"


class WorkerEvent(StrEnum):
    """What can happen to a worker: the results of its own work, then what comes from outside."""

    BOOTED = "booted"
    POLLED = "polled"
    DRAINED = "drained"

    TOOK = "took"
    ENDED = "ended"
    PAUSE = "pause"
    RESUME = "resume"
    SHUTDOWN = "shutdown"
    SHUTDOWN_NOW = "shutdown_now"
    FATAL = "fatal"


@attrs.define
class Load:
    """How much a worker carries, beside its state. Only the machine's actions write to it."""

    capacity: int = 1
    """Number of slots."""
    state: str | None = None
    busy: int = 0
    """Number of runs."""
    pause: str = ""
    """Why nothing is claimed, while nothing is."""
    hands_back: bool = False
    """Whether the run that was taken last is handed back, since the shutdown had begun."""
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
    def unfit(self) -> bool:
        return bool(self.pause)

    # ---- actions, by the name that the chart gives them ----

    def takes(self) -> None:
        self.busy += 1

    def takes_late(self) -> None:
        self.busy += 1
        self.hands_back = True

    def frees(self) -> None:
        self.busy -= 1

    def pauses(self, why: str) -> None:
        self.pause = why

    def resumes(self) -> None:
        self.pause = ""

    def leaves(self, why: str) -> None:
        self.why = self.why or why

    def leaves_now(self, why: str) -> None:
        self.leaves(why)
        self.immediate = True

    def breaks(self, why: str) -> None:
        self.broken = True
        self.leaves_now(why)


class WorkerChart(Chart[Load]):
    """The declaration: what one worker can be told, and what follows."""

    kind = "worker"

    booting = State(initial=True)
    claiming = State()
    running = State()
    paused = State()
    shutting_down = State()
    stopped = State(final=True)

    # What the work of a state ends with.
    booted = booting.to(paused, cond="unfit") | booting.to(claiming)
    polled = claiming.to(running, cond="full") | stay(claiming)
    drained = shutting_down.to(stopped, cond="idle") | stay(shutting_down)

    # What happens to its slots.
    took = stay(booting, claiming, running, paused, on="takes") | stay(shutting_down, on="takes_late")
    ended = running.to(claiming, on="frees") | stay(booting, claiming, paused, shutting_down, on="frees")

    # Whether it may claim.
    pause = paused.from_(claiming, running, on="pauses") | stay(booting, paused, shutting_down, on="pauses")
    resume = (
        paused.to(running, cond="full", on="resumes")
        | paused.to(claiming, on="resumes")
        | stay(booting, claiming, running, shutting_down, on="resumes")
    )

    # How it ends.
    shutdown = (
        stopped.from_(booting, on="leaves")
        | shutting_down.from_(claiming, running, paused, on="leaves")
        | stay(shutting_down, on="leaves")
    )
    shutdown_now = (
        stopped.from_(booting, on="leaves_now")
        | shutting_down.from_(claiming, running, paused, on="leaves_now")
        | stay(shutting_down, on="leaves_now")
    )
    fatal = stopped.from_(booting, shutting_down, on="breaks") | shutting_down.from_(
        claiming, running, paused, on="breaks"
    )


class WorkerMachine(Machine[Load]):
    """One worker: takes events, and moves as the chart declares. Its model is a Load."""

    chart = WorkerChart
