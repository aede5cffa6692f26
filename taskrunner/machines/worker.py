"""The life of a worker.

Theory of operation::

    booting → claiming ⇄ running → shutting_down → stopped
                    ⇅      ⇅
                     paused

1. `claiming` while there is a free slot and the machine is fit to take work; `running` when every slot is taken;
   `paused` while nothing is claimed. Its runs go on.
2. A pause has two causes: the machine is unfit (`unfit`, until `fit`), or the operator has paused the worker (`pause`,
   until `resume`). The end of one does not end the other: the worker is `paused` until both causes are gone.
3. `shutting_down` is graceful (`shutdown`: finish the runs) or immediate (`shutdown_now`: hand them back). It may
   become more urgent, never less.
4. A run has a slot until nothing of it is alive (`vacated`), or until it is over (`ended`). A run that has vacated its
   slot is answered and removed behind it (`removed`). All runs together are at most twice as many as the slots: beyond
   that, a free slot waits for the end of a removal, so that what is dead does not pile up.
5. A run can still arrive (`took`) while shutting down, from a claim in flight. It is counted like every other, and the
   outcome `hands_back` says that it is handed back. The worker is not drained before this run has ended.
6. Nothing leads back from `shutting_down`, and `fatal` moves in every state, so every worker stops.
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
    """The events of a worker: the results of its own work, then the events from outside."""

    BOOTED = "booted"
    POLLED = "polled"
    DRAINED = "drained"

    TOOK = "took"
    VACATED = "vacated"
    REMOVED = "removed"
    ENDED = "ended"
    UNFIT = "unfit"
    FIT = "fit"
    PAUSE = "pause"
    RESUME = "resume"
    SHUTDOWN = "shutdown"
    SHUTDOWN_NOW = "shutdown_now"
    FATAL = "fatal"


@attrs.define
class Load:
    """The state of a worker and the data beside it. Only the machine's actions write to it."""

    capacity: int = 1
    """Number of slots."""
    state: str | None = None
    busy: int = 0
    """Number of runs in slots."""
    removing: int = 0
    """Number of runs that have vacated their slots and are not over."""
    fault: str = ""
    """Why the machine is unfit to take work; empty when it is fit."""
    held: str = ""
    """Why the worker is paused by its operator; empty when it is not."""
    hands_back: bool = False
    """Whether the last run is handed back, since it was claimed after the shutdown had begun."""
    immediate: bool = False
    """Whether the shutdown hands back the runs."""
    why: str = ""
    """The cause of the shutdown."""
    broken: bool = False

    @property
    def full(self) -> bool:
        return self.free == 0

    @property
    def free(self) -> int:
        """Number of runs that can be taken."""
        return max(0, self.capacity - self.busy - max(0, self.removing - self.capacity))

    @property
    def idle(self) -> bool:
        return self.busy == self.removing == 0

    @property
    def leaves_room(self) -> bool:
        """Whether one more run in removal takes no slot from another one."""
        return self.removing < self.capacity

    @property
    def has_slot(self) -> bool:
        return self.busy < self.capacity

    @property
    def pause(self) -> str:
        """Why nothing is claimed, with both causes; empty when there is none."""
        return "; ".join(filter(None, (self.held, self.fault)))

    @property
    def faulty(self) -> bool:
        return bool(self.fault)

    @property
    def on_hold(self) -> bool:
        return bool(self.held)

    @property
    def barred(self) -> bool:
        return self.faulty or self.on_hold

    # ---- actions, by the name that the chart gives them ----

    def takes(self) -> None:
        self.busy += 1

    def takes_late(self) -> None:
        self.busy += 1
        self.hands_back = True

    def frees(self) -> None:
        self.busy -= 1

    def vacates(self) -> None:
        self.busy -= 1
        self.removing += 1

    def removes(self) -> None:
        self.removing -= 1

    def gets_unfit(self, why: str) -> None:
        self.fault = why

    def gets_fit(self) -> None:
        self.fault = ""

    def pauses(self, order: str) -> None:
        self.held = order

    def resumes(self) -> None:
        self.held = ""

    def shuts_down(self, why: str) -> None:
        self.why = self.why or why

    def shuts_down_now(self, why: str) -> None:
        self.shuts_down(why)
        self.immediate = True

    def breaks(self, why: str) -> None:
        self.broken = True
        self.shuts_down_now(why)


class WorkerChart(Chart[Load]):
    """The declaration: the states of a worker, and the moves of each event."""

    kind = "worker"

    booting = State(initial=True)
    claiming = State()
    running = State()
    paused = State()
    shutting_down = State()
    stopped = State(final=True)

    # Results of the work of a state.
    booted = booting.to(paused, cond="barred") | booting.to(claiming)
    polled = claiming.to(running, cond="full") | stay(claiming)
    drained = shutting_down.to(stopped, cond="idle") | stay(shutting_down)

    # Slots.
    took = stay(booting, claiming, running, paused, on="takes") | stay(shutting_down, on="takes_late")
    vacated = running.to(claiming, cond="leaves_room", on="vacates") | stay(
        booting, claiming, running, paused, shutting_down, on="vacates"
    )
    removed = running.to(claiming, cond="has_slot", on="removes") | stay(
        booting, claiming, running, paused, shutting_down, on="removes"
    )
    ended = running.to(claiming, on="frees") | stay(booting, claiming, paused, shutting_down, on="frees")

    # Pauses.
    unfit = paused.from_(claiming, running, on="gets_unfit") | stay(booting, paused, shutting_down, on="gets_unfit")
    fit = (
        stay(paused, cond="on_hold", on="gets_fit")
        | paused.to(running, cond="full", on="gets_fit")
        | paused.to(claiming, on="gets_fit")
        | stay(booting, claiming, running, shutting_down, on="gets_fit")
    )
    pause = paused.from_(claiming, running, on="pauses") | stay(booting, paused, shutting_down, on="pauses")
    resume = (
        stay(paused, cond="faulty", on="resumes")
        | paused.to(running, cond="full", on="resumes")
        | paused.to(claiming, on="resumes")
        | stay(booting, claiming, running, shutting_down, on="resumes")
    )

    # Ends.
    shutdown = (
        stopped.from_(booting, on="shuts_down")
        | shutting_down.from_(claiming, running, paused, on="shuts_down")
        | stay(shutting_down, on="shuts_down")
    )
    shutdown_now = (
        stopped.from_(booting, on="shuts_down_now")
        | shutting_down.from_(claiming, running, paused, on="shuts_down_now")
        | stay(shutting_down, on="shuts_down_now")
    )
    fatal = stopped.from_(booting, shutting_down, on="breaks") | shutting_down.from_(
        claiming, running, paused, on="breaks"
    )


class WorkerMachine(Machine[Load]):
    """One worker: takes events, and moves as the chart declares. Its model is a Load."""

    chart = WorkerChart
