"""The worker machine alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from taskrunner.machines.chart import Refused, Signal
from taskrunner.machines.machine import Machine
from taskrunner.machines.table import read_table
from taskrunner.machines.worker import Load, WorkerChart, WorkerEvent, WorkerMachine, WorkerState

TABLE = read_table(WorkerChart)
LIVE = [state for state in WorkerState if state != WorkerState.STOPPED]
WORK = {"booted": "booting", "polled": "claiming", "drained": "shutting_down"}
DATA: dict[str, dict[str, Any]] = {
    "unfit": {"why": "disk full"},
    "pause": {"order": "maintenance"},
    "shutdown": {"why": "SIGTERM"},
    "shutdown_now": {"why": "SIGTERM again"},
    "fatal": {"why": "broken"},
}


def take(machine: Machine[Load], *events: str) -> Machine[Load]:
    for event in events:
        machine.take(Signal(WorkerEvent(event), DATA.get(event, {})))
    return machine


def fresh(capacity: int = 1) -> Machine[Load]:
    return WorkerMachine(Load(capacity))


def test_the_enums_are_the_declaration() -> None:
    assert list(TABLE.states) == list(WorkerState)
    assert set(TABLE.events) == set(WorkerEvent)


CASES = [
    (state, event, busy, fault, held)
    for state, event, busy, fault, held in itertools.product(LIVE, WorkerEvent, [0, 1, 2], ["", "sick"], ["", "held"])
    if not ((fault or held) and state in {WorkerState.CLAIMING, WorkerState.RUNNING})  # a pause has moved these
]


@pytest.mark.parametrize(("state", "event", "busy", "fault", "held"), CASES)
def test_every_state_takes_every_event_or_refuses_the_work_of_another(
    state: WorkerState, event: WorkerEvent, busy: int, fault: str, held: str
) -> None:
    machine = WorkerMachine(Load(2, state=state, busy=busy, fault=fault, held=held))
    if WORK.get(event, state) != state:
        with pytest.raises(Refused):
            take(machine, event)
        assert machine.at == state
        return
    take(machine, event)
    order = [WorkerState.BOOTING, WorkerState.CLAIMING, WorkerState.SHUTTING_DOWN, WorkerState.STOPPED]
    rank = {**{s: n for n, s in enumerate(order)}, WorkerState.RUNNING: 1, WorkerState.PAUSED: 1}
    assert rank[WorkerState(machine.at)] >= rank[state], "nothing leads back but among claiming, running and paused"
    if event == WorkerEvent.FATAL:
        assert machine.at != state
        assert machine.model.immediate
    if machine.at == WorkerState.CLAIMING and state == WorkerState.RUNNING:
        assert not machine.model.full
    if machine.at in {WorkerState.CLAIMING, WorkerState.RUNNING}:
        assert not machine.model.pause
    if state == WorkerState.PAUSED and machine.at == WorkerState.CLAIMING:
        assert not machine.model.full


def test_a_full_worker_runs_and_claims_again_when_a_slot_is_free() -> None:
    machine = take(fresh(2), "booted", "took", "polled")
    assert machine.at == "claiming"
    assert take(machine, "took", "polled").at == "running"
    assert take(machine, "ended").at == "claiming"


def test_an_unfit_worker_stays_paused_when_a_run_ends() -> None:
    machine = take(fresh(2), "booted", "took", "unfit")
    assert (machine.at, machine.model.pause) == ("paused", "disk full")
    assert take(machine, "ended").at == "paused"
    assert take(machine, "fit").at == "claiming"
    assert machine.model.pause == ""


@pytest.mark.parametrize("event", ["unfit", "pause"])
def test_a_worker_with_a_reason_to_pause_at_its_start_is_paused(event: str) -> None:
    assert take(fresh(), event, "booted").at == "paused"


@pytest.mark.parametrize("event", ["unfit", "pause"])
def test_a_full_worker_can_be_paused(event: str) -> None:
    assert take(fresh(), "booted", "took", "polled", event).at == "paused"


def test_the_reason_of_a_pause_can_change() -> None:
    machine = take(fresh(), "booted", "unfit")
    machine.take(Signal(WorkerEvent.UNFIT, {"why": "no inodes"}))
    assert (machine.at, machine.model.pause) == ("paused", "no inodes")


@pytest.mark.parametrize("first", ["unfit", "pause"])
@pytest.mark.parametrize("event", ["shutdown", "shutdown_now", "fatal"])
def test_a_paused_worker_can_be_stopped(first: str, event: str) -> None:
    assert take(fresh(), "booted", first, event).at == "shutting_down"


@pytest.mark.parametrize(("begin", "end"), [("unfit", "fit"), ("pause", "resume")])
def test_a_full_worker_goes_back_to_running_after_a_pause(begin: str, end: str) -> None:
    machine = take(fresh(1), "booted", "took", begin, end)
    assert (machine.at, machine.model.pause) == ("running", "")


def test_the_health_of_the_machine_does_not_end_the_pause_of_the_operator() -> None:
    machine = take(fresh(), "booted", "pause", "unfit")
    assert machine.model.pause == "maintenance; disk full"
    assert (take(machine, "fit").at, machine.model.pause) == ("paused", "maintenance")
    assert (take(machine, "resume").at, machine.model.pause) == ("claiming", "")


def test_the_operator_does_not_make_an_unfit_machine_claim() -> None:
    machine = take(fresh(), "booted", "unfit", "pause")
    assert (take(machine, "resume").at, machine.model.pause) == ("paused", "disk full")
    assert (take(machine, "fit").at, machine.model.pause) == ("claiming", "")


def test_a_shutdown_becomes_more_urgent_and_never_less() -> None:
    machine = take(fresh(), "booted", "took")
    for event, immediate in [("shutdown", False), ("shutdown_now", True), ("shutdown", True)]:
        assert take(machine, event).model.immediate is immediate
    assert machine.at == "shutting_down"


def test_a_claim_in_flight_at_shutdown_is_counted_and_waited_for() -> None:
    machine = take(fresh(), "booted", "shutdown", "took", "drained")
    assert machine.at == "shutting_down"
    assert machine.model.hands_back
    assert take(machine, "ended", "drained").at == "stopped"


def test_the_first_reason_of_a_shutdown_is_kept() -> None:
    machine = take(fresh(), "booted", "shutdown", "fatal")
    assert machine.model.why == "SIGTERM"
    assert machine.model.broken


def test_a_run_that_has_vacated_its_slot_makes_room_and_is_waited_for() -> None:
    machine = take(fresh(1), "booted", "took", "polled", "vacated")
    assert (machine.at, machine.model.free) == ("claiming", 1)
    take(machine, "shutdown", "drained")
    assert machine.at == "shutting_down"
    assert take(machine, "removed", "drained").at == "stopped"


def test_runs_in_removal_are_bounded() -> None:
    """With two slots there are four runs at most; the slot of the fifth waits for the end of a removal."""
    machine = take(fresh(2), "booted", "took", "took", "vacated", "vacated", "took", "took", "polled", "vacated")
    assert (machine.at, machine.model.free) == ("running", 0)
    assert take(machine, "removed").at == "claiming"
    assert machine.model.free == 1


def test_a_removal_frees_no_slot_while_all_are_taken() -> None:
    machine = take(fresh(1), "booted", "took", "vacated", "took", "polled")
    assert (machine.at, take(machine, "removed").at) == ("running", "running")
