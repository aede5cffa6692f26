"""What is made from the declaration says all of it."""

from __future__ import annotations

import json

import pytest

from taskrunner.machines.chart import Chart
from taskrunner.machines.table import FORMATS, read
from taskrunner.machines.task import TaskChart
from taskrunner.machines.worker import WorkerChart

MACHINES = [TaskChart, WorkerChart]


@pytest.mark.parametrize("machine", MACHINES)
def test_the_table_has_every_state_and_event(machine: type[Chart[object]]) -> None:
    table = read(machine)
    text = FORMATS["table"](table)
    assert all(f" {state} " in text.splitlines()[0] for state in table.states)
    assert [line.split("|")[1].strip() for line in text.splitlines()[2:]] == list(table.events)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("form", ["mermaid", "dot"])
def test_a_diagram_has_every_move(machine: type[Chart[object]], form: str) -> None:
    table = read(machine)
    arrows = [line for line in FORMATS[form](table).splitlines() if "-->" in line or "->" in line]
    for row in table.rows:
        if not row.stays:
            assert any(row.source in a and row.target in a and row.event in a for a in arrows), row


@pytest.mark.parametrize("machine", MACHINES)
def test_json_holds_the_staying_moves_too(machine: type[Chart[object]]) -> None:
    table = read(machine)
    rows = json.loads(FORMATS["json"](table))["rows"]
    assert len(rows) == len(table.rows)
    assert any(row["source"] == row["target"] for row in rows)


@pytest.mark.parametrize("machine", MACHINES)
def test_no_event_hides_what_the_base_offers(machine: type[Chart[object]]) -> None:
    """An event called like a property of the base would silently take its place."""
    table = read(machine)
    assert not [name for name in (*table.events, *table.states) if hasattr(Chart, name)]
