"""Transitions of a machine in isolation: no Docker, no clock, no network."""
# ruff: noqa: S101

from taskrunner import Attempt, Signal, TaskEvent, TaskMachine


def test_a_cancel_while_loading_goes_straight_to_cleanup() -> None:
    machine = TaskMachine(Attempt(state="loading"))
    machine.take(Signal(TaskEvent.CANCEL, {"message": "not needed"}))
    assert machine.at == "cleanup"
    assert machine.model.lost
