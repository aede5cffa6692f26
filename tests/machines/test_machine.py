"""A machine is driven by python-statemachine, and the table of its declaration gives the same results."""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import Any

import attrs
import pytest
from statemachine import State

from taskrunner.errors import Bug
from taskrunner.machines.chart import RESERVED, Chart, Refused, Signal
from taskrunner.machines.machine import Machine
from taskrunner.machines.table import read_table
from taskrunner.machines.task import Attempt, TaskChart, TaskEvent, TaskMachine, TaskState
from taskrunner.machines.worker import Load, WorkerChart, WorkerEvent, WorkerMachine, WorkerState
from taskrunner.model import COMPLETED, Resolution, exception, failed
from taskrunner.testing.stepping import TableMachine

HELD: list[Resolution | None] = [None, COMPLETED, exception("worker-shutdown", "bye")]
TASK_DATA: dict[str, dict[str, Any]] = {
    "begin": {"retry_on": frozenset({75}), "purge_on": frozenset({9})},
    "exited": {"code": 75},
    "failed": {"resolution": failed("clone-failed", "no such branch")},
    "upload_failed": {"resolution": failed("artifact-missing", "report.xml")},
    "cancel": {"message": "not needed"},
    "reclaim_failed": {"why": "expired"},
    "timeout": {"message": "too long"},
    "deadline": {"message": "too late"},
    "malformed": {"message": "command: missing"},
    "reject": {"after": 5.0, "message": "busy"},
    "fatal": {"message": "broken"},
}
WORKER_DATA: dict[str, dict[str, Any]] = {
    "unfit": {"why": "disk full"},
    "pause": {"order": "maintenance"},
    "shutdown": {"why": "SIGTERM"},
    "shutdown_now": {"why": "SIGTERM again"},
    "fatal": {"why": "broken"},
}


def after(machine: Machine[Any] | TableMachine[Any], signal: Signal) -> tuple[str, object] | None:
    """The state and the model after an event, or None when it is refused."""
    try:
        move = machine.take(signal)
    except Refused:
        return None
    assert move.target == machine.at
    return machine.at, machine.model


@pytest.mark.parametrize(
    ("state", "event", "held", "lost"),
    list(itertools.product([s for s in TaskState if s != "resolved"], TaskEvent, HELD, [False, True])),
)
def test_every_event_of_a_run(state: TaskState, event: TaskEvent, held: Resolution | None, lost: bool) -> None:
    model = Attempt(state=str(state), retry_on=frozenset({75}), resolution=held, lost=lost)
    signal = Signal(event, TASK_DATA.get(event, {}))
    by_the_table = after(TableMachine(read_table(TaskChart), deepcopy(model)), signal)
    assert by_the_table == after(TaskMachine(model), signal)


@pytest.mark.parametrize(
    ("state", "event", "busy", "fault", "held"),
    list(
        itertools.product([s for s in WorkerState if s != "stopped"], WorkerEvent, [0, 1, 2], ["", "sick"], ["", "x"])
    ),
)
def test_every_event_of_a_worker(state: WorkerState, event: WorkerEvent, busy: int, fault: str, held: str) -> None:
    model = Load(2, state=str(state), busy=busy, fault=fault, held=held)
    signal = Signal(event, WORKER_DATA.get(event, {}))
    by_the_table = after(TableMachine(read_table(WorkerChart), deepcopy(model)), signal)
    assert by_the_table == after(WorkerMachine(model), signal)


def test_a_machine_begins_in_its_initial_state() -> None:
    assert (TaskMachine(Attempt()).at, WorkerMachine(Load()).at) == ("claimed", "booting")


@pytest.mark.parametrize("state", ["runing", "resolved"])
def test_a_machine_refuses_to_begin_in_a_misspelt_or_final_state(state: str) -> None:
    with pytest.raises(Bug, match=f"the task machine cannot begin in '{state}': its states are claimed, loading, run"):
        TaskMachine(Attempt(state=state))


def test_missing_data_of_an_action_is_an_error_and_the_state_stays() -> None:
    machine = TaskMachine(Attempt(state="running"))
    with pytest.raises(TypeError):
        machine.take(Signal(TaskEvent.EXITED, {"status": 0}))
    assert (machine.at, machine.model.resolution) == ("running", None)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_data_with_a_reserved_name_is_refused(name: str) -> None:
    with pytest.raises(Bug, match=rf"data of .*'cancel'.* cannot be called {name}: the name is reserved"):
        Signal(TaskEvent.CANCEL, {name: 1})


@pytest.mark.parametrize("event", ["cancel.now", "nonsense", "", "*"])
def test_an_unknown_event_is_refused(event: str) -> None:
    with pytest.raises(Refused):
        TaskMachine(Attempt()).take(Signal(event))


def test_an_event_after_the_end_is_refused() -> None:
    machine = TaskMachine(Attempt(state="cleanup"))
    machine.take(Signal(TaskEvent.CLEANED))
    with pytest.raises(Refused):
        machine.take(Signal(TaskEvent.CANCEL))


# ---- all features of a declaration in the library -------------------------------------------------------


@attrs.define
class Door:
    state: str | None = None
    calls: list[str] = attrs.field(factory=list)
    locked: bool = False
    jammed: bool = False

    def call_before(self) -> None:
        self.calls.append("before")

    def call_exit(self) -> None:
        self.calls.append("exit")

    def call_first(self) -> None:
        self.calls.append("first")

    def call_second(self) -> None:
        self.calls.append("second")

    def call_enter(self) -> None:
        self.calls.append("enter")

    def call_after(self) -> None:
        self.calls.append("after")

    def check_metal(self, metal: str) -> None:
        if metal != "iron":
            raise PermissionError(metal)


class DoorChart(Chart[Door]):
    kind = "door"
    shut = State(initial=True, exit="call_exit")
    opened = State(enter="call_enter")
    gone = State(final=True)

    open = shut.to(
        opened,
        unless="locked or jammed",
        validators="check_metal",
        before="call_before",
        on=["call_first", "call_second"],
        after="call_after",
    )
    remove = opened.to(gone)


class DoorMachine(Machine[Door]):
    chart = DoorChart


def test_actions_of_every_kind_are_called_in_the_order_of_the_library() -> None:
    machine = DoorMachine(Door())
    machine.take(Signal("open", {"metal": "iron"}))
    assert machine.model.calls == ["before", "exit", "first", "second", "enter", "after"]


@pytest.mark.parametrize("why", ["locked", "jammed"])
def test_a_condition_may_have_an_or(why: str) -> None:
    with pytest.raises(Refused):
        DoorMachine(Door(**{why: True})).take(Signal("open", {"metal": "iron"}))


def test_an_error_of_a_validator_is_raised_and_the_state_stays() -> None:
    machine = DoorMachine(Door())
    with pytest.raises(PermissionError):
        machine.take(Signal("open", {"metal": "tin"}))
    assert (machine.at, machine.model.calls) == ("shut", [])


def test_listeners_are_called_for_each_move() -> None:
    class Listener:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def after_transition(self, event: str, source: State, target: State) -> None:
            self.seen.append(f"{source.id} {event} {target.id}")

        def on_enter_gone(self) -> None:
            self.seen.append("gone")

    early, late = Listener(), Listener()
    machine = DoorMachine(Door(), listeners=[early])
    machine.take(Signal("open", {"metal": "iron"}))
    machine.add_listener(late)
    machine.take(Signal("remove"))
    assert early.seen == ["shut open opened", "gone", "opened remove gone"]
    assert late.seen == ["gone", "opened remove gone"]


def test_an_action_that_is_a_coroutine_is_refused() -> None:
    @attrs.define
    class Sleepy:
        state: str | None = None

        async def sleeps(self) -> None: ...

    class SleepyChart(Chart[Sleepy]):
        kind = "sleepy"
        awake = State(initial=True)
        asleep = State(final=True)
        sleep = awake.to(asleep, on="sleeps")

    class SleepyMachine(Machine[Sleepy]):
        chart = SleepyChart

    for state in (None, "awake"):
        with pytest.raises(Bug, match="sleeps of the sleepy machine is a coroutine: a machine awaits nothing"):
            SleepyMachine(Sleepy(state))


def test_a_listener_that_is_a_coroutine_is_refused() -> None:
    class Listener:
        async def after_transition(self) -> None: ...

    with pytest.raises(Bug, match="a listener of the door machine is a coroutine: a machine awaits nothing"):
        DoorMachine(Door(), listeners=[Listener()])


def test_states_inside_of_states_are_refused() -> None:
    class NestedChart(Chart[Any]):
        kind = "nested"

        class outer(State.Compound):  # noqa: N801  the library's way to write it
            inner = State(initial=True)

        out = State(final=True)
        leave = outer.to(out)  # type: ignore[attr-defined]  # a state by the time that this runs

    class NestedMachine(Machine[Any]):
        chart = NestedChart

    with pytest.raises(Bug, match="a state of the nested machine has states inside, which are not supported: outer"):
        NestedMachine(Attempt())


def test_a_subclass_of_a_chart_with_states_is_refused() -> None:
    with pytest.raises(Bug, match=r"Extended cannot extend a chart that has states: use taskrunner\.declare"):
        type("Extended", (TaskChart,), {})
