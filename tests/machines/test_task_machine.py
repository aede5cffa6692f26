"""The task machine alone: every state × every event × every resolution that can be held."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from taskrunner.errors import Bug
from taskrunner.machines.chart import Refused, Signal
from taskrunner.machines.machine import Machine
from taskrunner.machines.table import read_table
from taskrunner.machines.task import Attempt, TaskChart, TaskEvent, TaskMachine, TaskState
from taskrunner.model import COMPLETED, Resolution, exception, failed

TABLE = read_table(TaskChart)
ORDER = list(TaskState)
LIVE = [state for state in ORDER if state != TaskState.RESOLVED]
OUTSIDE = {"cancel", "reclaim_failed", "shutdown", "timeout", "deadline", "malformed", "reject", "fatal"}
ERRORS = {"failed", "malformed", "fatal"}
LOSES_THE_CLAIM = {"cancel", "reclaim_failed"}
HELD: list[Resolution | None] = [
    None,
    COMPLETED,
    failed("exit-code", "1"),
    failed("max-run-time", "long"),
    exception("worker-shutdown", "bye"),
    exception("internal-error", "oops"),
]
DATA: dict[str, list[dict[str, Any]]] = {
    "exited": [{"code": 0}, {"code": 1}, {"code": 75}, {"code": 2, "reason": "build-failed", "message": "step 2"}],
    "failed": [
        {"resolution": failed("clone-failed", "no such branch")},
        {"resolution": exception("resource-unavailable", "x")},
    ],
    "upload_failed": [{"resolution": failed("artifact-missing", "report.xml")}],
    "cancel": [{}, {"message": "not needed"}],
    "reclaim_failed": [{"why": "expired"}],
    "shutdown": [{}, {"message": "spot"}],
    "timeout": [{"message": "too long"}],
    "deadline": [{"message": "too late"}],
    "malformed": [{"message": "command: missing"}],
    "reject": [{"after": 5.0, "message": "busy"}],
    "fatal": [{"message": "broken"}],
}
CASES = [
    pytest.param(state, event, data, held, lost, reported, id=f"{state}-{event}-{n}-{held}-{lost:d}{reported:d}")
    for state, event, held, lost, reported in itertools.product(LIVE, TaskEvent, HELD, [False, True], [False, True])
    for n, data in enumerate(DATA.get(event, [{}]))
]


def machine_in(state: str, **held: Any) -> Machine[Attempt]:
    return TaskMachine(Attempt(state=state, retry_on=frozenset({75}), **held))


def test_the_enums_are_the_declaration() -> None:
    assert list(TABLE.states) == list(TaskState)
    assert list(TABLE.events) == list(TaskEvent)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(LIVE, sorted(OUTSIDE))))
def test_every_state_knows_every_event_from_outside(state: str, event: str) -> None:
    assert TABLE.knows(state, event)


@pytest.mark.parametrize(("state", "event", "data", "held", "lost", "reported"), CASES)
def test_any_event_moves_forward_or_stays_or_is_refused(  # noqa: PLR0917  one parameter for each dimension
    state: str, event: TaskEvent, data: dict[str, Any], held: Resolution | None, lost: bool, reported: bool
) -> None:
    machine = machine_in(state, resolution=held, lost=lost, reported=reported)
    if not TABLE.knows(state, event):
        with pytest.raises(Refused, match=f"task machine cannot take '{event}' while {state}"):
            machine.take(Signal(event, data))
        assert (machine.at, machine.model.resolution) == (state, held)
        return

    move = machine.take(Signal(event, data))
    model = machine.model

    assert (move.source, move.event, move.target) == (state, event, machine.at)
    assert ORDER.index(TaskState(machine.at)) >= ORDER.index(TaskState(state))
    if event in ERRORS:
        assert move.moved
    if reported or lost:
        assert model.resolution == held, "a reported or lost resolution cannot change"
    elif event in LOSES_THE_CLAIM:
        assert model.lost
        assert model.resolution is not None
        assert model.resolution.kind == "exception"
    elif held and held.kind != "completed":
        assert model.resolution == held, "the first cause decides"
    assert not model.lost or lost or event in LOSES_THE_CLAIM
    assert not (model.keeps and model.lost)


def test_only_the_result_of_another_states_work_is_refused() -> None:
    refused = {(s, e) for s, e in itertools.product(LIVE, TABLE.events) if not TABLE.knows(s, e)}
    assert {event for _, event in refused} == {
        "begin", "loaded", "exited", "upload_failed", "reported", "vacated", "uploaded", "cleaned",
    }  # fmt: skip


@pytest.mark.parametrize("state", LIVE)
def test_every_run_ends_after_enough_faults(state: str) -> None:
    """A move never leads back, and `fatal` always moves: as many faults as there are states end every run."""
    machine = machine_in(state)
    for _ in ORDER:
        if not machine.over:
            machine.take(Signal(TaskEvent.FATAL, {"message": "broken"}))
    assert machine.over
    assert machine.model.resolution == exception("internal-error", "broken")


@pytest.mark.parametrize("state", LIVE)
def test_every_row_of_the_declaration_leads_forward(state: str) -> None:
    for row in TABLE.rows:
        if row.source == state:
            assert ORDER.index(TaskState(row.target)) >= ORDER.index(TaskState(row.source))


@pytest.mark.parametrize("state", [TaskState.CLAIMED, TaskState.LOADING, TaskState.RUNNING])
@pytest.mark.parametrize("event", sorted(OUTSIDE - LOSES_THE_CLAIM))
def test_an_end_with_a_valid_claim_goes_through_uploading(state: TaskState, event: str) -> None:
    machine = machine_in(state)
    machine.take(Signal(TaskEvent(event), DATA[event][0]))
    stays = (state, event) == (TaskState.CLAIMED, "timeout")  # it has not begun
    assert machine.at == (state if stays else TaskState.UPLOADING)


@pytest.mark.parametrize("state", [TaskState.CLAIMED, TaskState.LOADING, TaskState.RUNNING, TaskState.UPLOADING])
@pytest.mark.parametrize("event", sorted(LOSES_THE_CLAIM))
@pytest.mark.parametrize("held", HELD)
def test_a_lost_claim_beats_every_cause(state: TaskState, event: str, held: Resolution | None) -> None:
    machine = machine_in(state, resolution=held, keeps=True)
    machine.take(Signal(TaskEvent(event), DATA[event][0]))
    assert machine.at == TaskState.CLEANUP
    assert machine.model.lost
    assert not machine.model.keeps
    assert machine.model.resolution.reason == ("canceled" if event == "cancel" else "claim-expired")


def test_a_run_cannot_lose_its_claim_after_its_report() -> None:
    machine = machine_in("uploading", resolution=COMPLETED)
    machine.take(Signal(TaskEvent.REPORTED))
    machine.take(Signal(TaskEvent.RECLAIM_FAILED, {"why": "resolved"}))
    assert (machine.model.lost, machine.model.resolution) == (False, COMPLETED)


def test_completed_is_no_cause_until_it_is_reported() -> None:
    missing = failed("artifact-missing", "report.xml")
    machine = machine_in("running")
    machine.take(Signal(TaskEvent.EXITED, {"code": 0}))
    machine.take(Signal(TaskEvent.UPLOAD_FAILED, {"resolution": missing}))
    assert (machine.at, machine.model.resolution) == ("uploading", missing)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, COMPLETED),
        (3, failed("exit-code", "the command ended with exit code 3")),
        (75, exception("intermittent-task", "exit code 75 is one that this task asks to be retried on")),
    ],
)
def test_an_exit_code_decides(code: int, expected: Resolution) -> None:
    machine = machine_in("running")
    machine.take(Signal(TaskEvent.EXITED, {"code": code}))
    assert machine.model.resolution == expected


@pytest.mark.parametrize("event", ["timeout", "deadline", "fatal"])
def test_results_are_kept_when_a_running_task_is_stopped_for_its_time_or_a_fault(event: str) -> None:
    machine = machine_in("running")
    machine.take(Signal(TaskEvent(event), DATA[event][0]))
    assert machine.model.keeps


def test_an_event_after_the_end_is_a_bug() -> None:
    machine = TaskMachine(Attempt())
    for event in ["begin", "loaded"]:
        machine.take(Signal(TaskEvent(event)))
    machine.take(Signal(TaskEvent.EXITED, {"code": 0}))
    for event in ["reported", "uploaded", "cleaned"]:
        machine.take(Signal(TaskEvent(event)))
    assert machine.over
    with pytest.raises(Bug):
        machine.take(Signal(TaskEvent.CANCEL))


# ---- outcomes of an end ---------------------------------------------------------------------------------

BEFORE = [("exited", {"code": 75}), ("failed", {"resolution": exception("resource-unavailable", "no route")})]
BEFORE += [(event, DATA[event][0]) for event in ("shutdown", "deadline", "malformed", "reject", "fatal")]
AFTER = [
    ("exited", {"code": 0}),
    ("exited", {"code": 1}),
    ("failed", DATA["failed"][0]),
    ("timeout", {"message": "long"}),
]


@pytest.mark.parametrize(("event", "data"), BEFORE)
def test_an_exception_is_reported_before_the_upload(event: str, data: dict[str, Any]) -> None:
    machine = machine_in("running")
    machine.take(Signal(event, data))
    assert (machine.at, machine.model.reports_first) == ("uploading", True)


@pytest.mark.parametrize(("event", "data"), AFTER)
def test_an_end_without_an_exception_is_reported_after_the_upload(event: str, data: dict[str, Any]) -> None:
    machine = machine_in("running")
    machine.take(Signal(event, data))
    assert (machine.at, machine.model.reports_first, machine.model.collects) == ("uploading", False, True)


def test_an_upload_that_fails_does_not_change_the_order() -> None:
    machine = machine_in("running")
    machine.take(Signal("exited", {"code": 0}))
    machine.take(Signal("upload_failed", {"resolution": exception("resource-unavailable", "the store is down")}))
    assert (machine.model.reports_first, machine.model.delivers) == (False, False)


@pytest.mark.parametrize(
    ("held", "keeps", "collects"),
    [
        (None, False, False),
        (COMPLETED, False, True),
        (failed("exit-code", "1"), False, True),
        (exception("worker-shutdown", "bye"), False, False),
        (exception("internal-error", "oops"), True, True),
    ],
)
def test_artifacts_are_collected_unless_an_exception_discards_them(
    held: Resolution | None, keeps: bool, collects: bool
) -> None:
    assert Attempt(resolution=held, keeps=keeps).collects is collects


@pytest.mark.parametrize("held", HELD)
def test_only_a_success_is_delivered(held: Resolution | None) -> None:
    assert Attempt(resolution=held).delivers is (held == COMPLETED)


@pytest.mark.parametrize(("answers", "owes"), [(True, True), (False, False)])
def test_a_cancel_is_reported_where_the_caller_waits_for_an_answer(answers: bool, owes: bool) -> None:
    machine = TaskMachine(Attempt(state="running", answers_cancel=answers))
    machine.take(Signal("cancel"))
    assert machine.model.owes_report is owes


def test_a_lost_claim_is_not_reported() -> None:
    machine = TaskMachine(Attempt(state="running", answers_cancel=True))
    machine.take(Signal("reclaim_failed", {"why": "expired"}))
    assert not machine.model.owes_report


def test_a_resolution_is_reported_once() -> None:
    machine = machine_in("uploading", resolution=COMPLETED)
    assert machine.model.owes_report
    machine.take(Signal("reported"))
    assert not machine.model.owes_report


@pytest.mark.parametrize(
    ("event", "data", "commits"),
    [
        ("exited", {"code": 0}, True),
        ("exited", {"code": 1}, True),
        ("exited", {"code": 9}, False),
        ("timeout", {"message": "long"}, False),
        ("shutdown", {}, False),
        ("cancel", {}, False),
        ("failed", DATA["failed"][0], False),
    ],
)
def test_caches_are_kept_after_an_exit_code_that_does_not_purge_them(
    event: str, data: dict[str, Any], commits: bool
) -> None:
    machine = machine_in("loading")
    machine.model.purge_on = frozenset({9})
    machine.take(Signal("loaded"))
    machine.take(Signal(event, data))
    assert machine.model.commits_caches is commits


def test_caches_are_discarded_when_the_claim_is_lost_after_the_end() -> None:
    machine = machine_in("running")
    machine.take(Signal("exited", {"code": 0}))
    machine.take(Signal("reclaim_failed", {"why": "expired"}))
    assert not machine.model.commits_caches


def test_the_exit_codes_of_the_task_are_set_by_its_begin() -> None:
    machine = TaskMachine(Attempt())
    machine.take(Signal("begin", {"retry_on": frozenset({75}), "purge_on": frozenset({9})}))
    assert (machine.model.retry_on, machine.model.purge_on) == ({75}, {9})


@pytest.mark.parametrize(("state", "released"), [("claimed", True), ("loading", True), ("running", False)])
def test_a_shutdown_before_the_command_has_begun_releases_the_run(state: str, released: bool) -> None:
    machine = machine_in(state)
    machine.take(Signal(TaskEvent.SHUTDOWN))
    assert (machine.model.release_delay == 0) is released
    assert str(machine.model.resolution) == "exception (worker-shutdown)"


def test_a_caller_that_waits_is_answered_after_what_is_kept() -> None:
    for answers, first in [(False, True), (True, False)]:
        machine = machine_in("running", answers_cancel=answers)
        machine.take(Signal(TaskEvent.DEADLINE, {"message": "too late"}))
        assert (machine.model.keeps, machine.model.reports_first) == (True, first)


def test_a_vacated_run_can_still_be_answered_and_lost() -> None:
    machine = machine_in("uploading", resolution=COMPLETED)
    machine.take(Signal(TaskEvent.VACATED))
    assert (machine.at, machine.model.vacated) == ("uploading", True)
    machine.take(Signal(TaskEvent.RECLAIM_FAILED, {"why": "disconnected"}))
    assert (machine.at, machine.model.lost) == ("cleanup", True)
