"""Tables and diagrams of a declaration are complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from statemachine import State

from taskrunner.errors import Bug
from taskrunner.machines.chart import Chart, Signal
from taskrunner.machines.render import FORMATS
from taskrunner.machines.table import Row, Table, declare, read_table
from taskrunner.machines.task import Attempt, TaskChart, TaskEvent
from taskrunner.machines.worker import WorkerChart
from taskrunner.testing.stepping import TableMachine

MACHINES = [TaskChart, WorkerChart]


@pytest.mark.parametrize("machine", MACHINES)
def test_the_table_has_every_state_and_event(machine: type[Chart[object]]) -> None:
    table = read_table(machine)
    text = FORMATS["table"](table)
    assert all(f" {state} " in text.splitlines()[0] for state in table.states)
    assert [line.split("|")[1].strip() for line in text.splitlines()[2:]] == list(table.events)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("form", ["mermaid", "dot"])
def test_a_diagram_has_every_move(machine: type[Chart[object]], form: str) -> None:
    table = read_table(machine)
    arrows = [line for line in FORMATS[form](table).splitlines() if "-->" in line or "->" in line]
    for row in table.rows:
        if not row.stays:
            assert any(row.source in a and row.target in a and row.event in a for a in arrows), row


@pytest.mark.parametrize("machine", MACHINES)
def test_json_holds_the_staying_moves_too(machine: type[Chart[object]]) -> None:
    table = read_table(machine)
    rows = json.loads(FORMATS["json"](table))["rows"]
    assert len(rows) == len(table.rows)
    assert any(row["source"] == row["target"] for row in rows)


@pytest.mark.parametrize("machine", MACHINES)
def test_no_event_and_no_state_hides_an_attribute_of_the_base(machine: type[Chart[object]]) -> None:
    """An event called like a property of the base would silently take its place."""
    table = read_table(machine)
    assert not [name for name in (*table.events, *table.states) if hasattr(Chart, name)]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_chart_that_is_declared_from_a_table_has_this_table(machine: type[Chart[object]]) -> None:
    assert read_table(declare(read_table(machine))) == read_table(machine)


def test_conditions_are_declared_from_a_table_too() -> None:
    rows = (Row("a", "go", "b", "ready and not full"), Row("a", "go", "a", "not ready"), Row("b", "end", "c"))
    table = Table("sample", ("a", "b", "c"), "a", ("c",), ("go", "end"), rows)
    assert read_table(declare(table)) == table


def chart(**members: Any) -> type[Chart[Any]]:
    """A chart of two states, with the additions of a test."""
    a, b = members.pop("a", None) or State(initial=True), State(final=True)
    how = members.pop("how", {})
    return type(Chart)("Sample", (Chart,), {"kind": "sample", "a": a, "b": b, "go": a.to(b, **how), **members})


@pytest.mark.parametrize(
    ("declared", "what"),
    [
        (lambda: chart(how={"before": "look"}), "look, a validator or an action before or after a transition of a"),
        (lambda: chart(how={"after": "look"}), "look, a validator or an action before or after a transition of a"),
        (lambda: chart(how={"validators": "look"}), "look, a validator or an action before or after a transition of a"),
        (lambda: chart(how={"on": ["look", "leap"]}), "look and leap, two actions of a transition of a"),
        (lambda: chart(how={"cond": "calm or brave"}), "the condition 'calm or brave'"),
        (lambda: chart(how={"cond": "depth > 3"}), "the condition 'depth > 3'"),
        (lambda: chart(how={"unless": "calm and brave"}), "the condition 'calm and brave'"),
        (lambda: chart(a=State(initial=True, exit="look")), "look, an action on entering, leaving or being in a"),
        (lambda: chart(a=State(initial=True, value=7)), "the state a, which has a value or states of its own"),
        (lambda: chart(on_enter_b=lambda self: None), "on_enter_b, an action on entering, leaving or being in b"),
        (lambda: chart(before_go=lambda self: None), "before_go, a validator or an action before or after"),
    ],
)
def test_a_feature_that_no_row_can_express_is_refused_by_name(
    declared: Callable[[], type[Chart[Any]]], what: str
) -> None:
    with pytest.raises(Bug) as refused:
        read_table(declared())
    assert str(refused.value).startswith(f"the table of the sample machine cannot express {what}")


def test_a_transition_that_leaves_its_state_and_enters_it_again_is_refused() -> None:
    a = State(initial=True)
    with pytest.raises(Bug, match="a transition of a that leaves it and enters it again"):
        read_table(chart(a=a, again=a.to(a)))


@pytest.mark.parametrize("name", ["on_enter_running", "on_exit_state", "before_cancel", "after_transition", "on_fatal"])
def test_a_model_with_a_method_that_the_library_calls_by_name_is_refused(name: str) -> None:
    model = type("Attempt", (Attempt,), {name: lambda self: None})()
    with pytest.raises(Bug, match=rf"the table of the task machine cannot express Attempt\.{name}"):
        TableMachine(read_table(TaskChart), model)


def test_a_table_machine_refuses_to_begin_in_a_misspelt_state() -> None:
    with pytest.raises(Bug, match="the task machine cannot begin in 'runing'"):
        TableMachine(read_table(TaskChart), Attempt(state="runing"))


def test_a_fleet_is_simulated_by_the_table() -> None:
    table = read_table(TaskChart)
    fleet = [TableMachine(table, Attempt()) for _ in range(1000)]
    for event in (TaskEvent.BEGIN, TaskEvent.LOADED, TaskEvent.CANCEL, TaskEvent.CLEANED):
        for machine in fleet:
            machine.take(Signal(event))
    assert all(machine.over and machine.model.lost for machine in fleet)
