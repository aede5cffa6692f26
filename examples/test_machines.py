"""More of the machines: what is refused, which cause wins, and every way to the end."""
# ruff: noqa: S101

import pytest

from taskrunner import (
    Attempt,
    Load,
    Refused,
    Signal,
    TaskEvent,
    TaskMachine,
    WorkerEvent,
    WorkerMachine,
)


def test_what_a_state_does_not_know_is_refused_and_changes_nothing() -> None:
    machine = TaskMachine(Attempt(state="claimed"))
    with pytest.raises(Refused, match="exited"):
        machine.take(Signal(TaskEvent.EXITED, {"code": 0}))
    assert machine.at == "claimed"


def test_the_first_cause_decides_the_resolution() -> None:
    machine = TaskMachine(Attempt(state="running"))
    machine.take(Signal(TaskEvent.TIMEOUT, {"message": "it took longer than 60 s"}))
    machine.take(Signal(TaskEvent.SHUTDOWN, {"message": "SIGTERM"}))
    assert str(machine.model.resolution) == "failed (max-run-time)"
    assert machine.model.keeps, "what the run made is uploaded"


@pytest.mark.parametrize("state", ["claimed", "loading", "running", "uploading", "cleanup"])
def test_a_fault_moves_in_every_state(state: str) -> None:
    machine = TaskMachine(Attempt(state=state))
    assert machine.take(Signal(TaskEvent.FATAL, {"message": "the disk is gone"})).target != state


def test_a_worker_leaves_when_the_last_run_has_ended() -> None:
    machine = WorkerMachine(Load(capacity=1, state="running", busy=1))
    machine.take(Signal(WorkerEvent.SHUTDOWN, {"why": "SIGTERM"}))
    machine.take(Signal(WorkerEvent.DRAINED))
    assert machine.at == "shutting_down", "a run is still there"
    machine.take(Signal(WorkerEvent.ENDED))
    machine.take(Signal(WorkerEvent.DRAINED))
    assert machine.at == "stopped"
