"""Stepping through the table is what python-statemachine does with the declaration."""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import Any

import pytest
from statemachine.exceptions import TransitionNotAllowed

from taskrunner.errors import Bug
from taskrunner.machines.chart import Chart, Refused, Signal
from taskrunner.machines.machine import Machine
from taskrunner.machines.task import Attempt, TaskChart, TaskEvent, TaskMachine, TaskState
from taskrunner.machines.worker import Load, WorkerChart, WorkerEvent, WorkerMachine, WorkerState
from taskrunner.model import COMPLETED, Resolution, exception, failed

HELD: list[Resolution | None] = [None, COMPLETED, exception("worker-shutdown", "bye")]
TASK_DATA: dict[str, dict[str, Any]] = {
    "exited": {"code": 75},
    "failed": {"resolution": failed("clone-failed", "no such branch")},
    "cancel": {"message": "not needed"},
    "reclaim_failed": {"why": "expired"},
    "timeout": {"message": "too long"},
    "deadline": {"message": "too late"},
    "malformed": {"message": "command: missing"},
    "reject": {"after": 5.0, "message": "busy"},
    "fatal": {"message": "broken"},
}
WORKER_DATA: dict[str, dict[str, Any]] = {
    "paused": {"why": "disk full"},
    "shutdown": {"why": "SIGTERM", "immediate": True},
    "fatal": {"why": "broken"},
}


def by_the_library(chart: type[Chart[Any]], model: Any, signal: Signal) -> tuple[str, object] | None:
    """The state and the model after an event, or None when it is refused."""
    machine = chart(model)
    try:
        machine.send(str(signal.event), **signal.data)
    except TransitionNotAllowed:
        return None
    return str(machine.current_state_value), model


def by_the_table(kind: type[Machine[Any]], model: Any, signal: Signal) -> tuple[str, object] | None:
    machine = kind(model)
    try:
        move = machine.take(signal)
    except Refused:
        return None
    assert move.target == machine.at
    return machine.at, model


@pytest.mark.parametrize(
    ("state", "event", "held", "lost"),
    list(itertools.product([s for s in TaskState if s != "resolved"], TaskEvent, HELD, [False, True])),
)
def test_every_event_of_a_run(state: TaskState, event: TaskEvent, held: Resolution | None, lost: bool) -> None:
    model = Attempt(state=str(state), retry_on=frozenset({75}), resolution=held, lost=lost)
    signal = Signal(event, TASK_DATA.get(event, {}))
    assert by_the_table(TaskMachine, deepcopy(model), signal) == by_the_library(TaskChart, model, signal)


@pytest.mark.parametrize(
    ("state", "event", "busy", "pause"),
    list(itertools.product([s for s in WorkerState if s != "stopped"], WorkerEvent, [0, 1, 2], ["", "sick"])),
)
def test_every_event_of_a_worker(state: WorkerState, event: WorkerEvent, busy: int, pause: str) -> None:
    model = Load(2, state=str(state), busy=busy, pause=pause)
    signal = Signal(event, WORKER_DATA.get(event, {}))
    assert by_the_table(WorkerMachine, deepcopy(model), signal) == by_the_library(WorkerChart, model, signal)


def test_a_machine_begins_at_the_beginning() -> None:
    assert (TaskMachine(Attempt()).at, WorkerMachine(Load()).at) == ("claimed", "booting")


def test_a_machine_begins_in_no_state_that_is_misspelt() -> None:
    with pytest.raises(Bug, match="the task machine has no state 'runing': it has claimed, loading, running"):
        TaskMachine(Attempt(state="runing"))


def test_what_an_action_does_not_know_comes_out_and_nothing_moved() -> None:
    machine = TaskMachine(Attempt(state="running"))
    with pytest.raises(TypeError):
        machine.take(Signal(TaskEvent.EXITED, {"status": 0}))
    assert (machine.at, machine.model.resolution) == ("running", None)
