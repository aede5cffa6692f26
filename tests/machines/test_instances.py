"""Machines that borrow an instance of their chart behave as if each had its own."""

from __future__ import annotations

from threading import Barrier, Thread
from typing import Any

import attrs
import pytest
from statemachine import State

from taskrunner.machines import instances
from taskrunner.machines.chart import Chart, Refused, Signal, stay
from taskrunner.machines.instances import pool_of
from taskrunner.machines.machine import Machine
from taskrunner.machines.task import Attempt, TaskChart, TaskEvent, TaskMachine
from taskrunner.machines.worker import Load, WorkerChart


@attrs.define
class Lamp:
    state: str | None = None
    limit: int = 3
    calls: list[str] = attrs.field(factory=list)
    machine_of: Machine[Lamp] | None = None
    then: str = ""

    @property
    def worn(self) -> bool:
        return len(self.calls) >= self.limit

    def lights(self, colour: str = "white") -> None:
        self.calls.append(colour)
        if self.machine_of:
            self.machine_of.take(Signal(self.then))

    def darkens(self) -> None:
        self.calls.append("dark")


class LampChart(Chart[Lamp]):
    kind = "lamp"
    off = State(initial=True)
    on = State()
    broken = State(final=True)

    light = off.to(broken, cond="worn") | off.to(on, on="lights")
    darken = on.to(off, on="darkens")
    blink = stay(off, on, on="darkens")


class LampMachine(Machine[Lamp]):
    chart = LampChart


def test_the_shipped_charts_are_borrowed_and_machines_between_each_other_stay_apart() -> None:
    assert pool_of(TaskChart, Attempt)
    assert pool_of(WorkerChart, Load)
    first, second = LampMachine(Lamp(limit=1)), LampMachine(Lamp())
    first.take(Signal("light", {"colour": "red"}))
    second.take(Signal("light", {"colour": "blue"}))
    first.take(Signal("darken"))
    first.take(Signal("light"))
    assert (first.at, first.model.calls) == ("broken", ["red", "dark"])
    assert (second.at, second.model.calls) == ("on", ["blue"])


def test_a_machine_that_was_prepared_makes_no_instance_when_it_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    @attrs.define
    class Prepared(Lamp):
        """Its machines share no instance with those of other tests."""

    LampMachine(Prepared()).prepare()
    monkeypatch.setattr(instances, "declare", None)
    machine = LampMachine(Prepared())
    for event in ("light", "blink", "darken"):
        machine.take(Signal(event))
    assert (machine.at, machine.model.calls) == ("off", ["white", "dark", "dark"])


def test_a_machine_that_is_over_ends_no_other_one() -> None:
    for _ in range(2):
        machine = TaskMachine(Attempt(state="cleanup"))
        machine.take(Signal(TaskEvent.CLEANED))
        assert machine.over
    with pytest.raises(Refused):
        machine.take(Signal(TaskEvent.CLEANED))


def test_an_error_of_an_action_is_raised_and_leaves_the_next_machine_alone() -> None:
    with pytest.raises(TypeError):
        TaskMachine(Attempt(state="running")).take(Signal(TaskEvent.EXITED, {"status": 1}))
    assert TaskMachine(Attempt(state="running")).take(Signal(TaskEvent.EXITED, {"code": 1})).target == "uploading"


def test_an_action_that_sends_its_own_machine_an_event_finds_it_taken_after_the_move() -> None:
    machine = LampMachine(Lamp(then="darken"))
    machine.model.machine_of = machine
    machine.take(Signal("light"))
    assert (machine.at, machine.model.calls) == ("off", ["white", "dark"])


def test_an_action_that_sends_another_machine_an_event_finds_it_taken_at_once() -> None:
    other = LampMachine(Lamp(state="on"))
    machine = LampMachine(Lamp(then="darken", machine_of=other))
    machine.take(Signal("light"))
    assert (machine.at, other.at, other.model.calls) == ("on", "off", ["dark"])


def test_a_machine_gets_an_instance_of_its_own_with_its_first_listener() -> None:
    class Listener:
        seen: tuple[str, ...] = ()

        def after_transition(self, event: str, target: State) -> None:
            self.seen += (f"{event} {target.id}",)

    listener, listened, other = Listener(), LampMachine(Lamp()), LampMachine(Lamp())
    listened.take(Signal("light"))
    listened.add_listener(listener)
    for machine in (listened, other):
        machine.take(Signal("blink"))
    listened.take(Signal("darken"))
    assert listener.seen == ("blink on", "darken off")
    assert listened.model.calls == ["white", "dark", "dark"]


def test_machines_move_in_several_threads() -> None:
    lamps = [Lamp() for _ in range(4)]
    together = Barrier(len(lamps))

    def move(lamp: Lamp) -> None:
        machine = LampMachine(lamp)
        together.wait(10)
        for _ in range(200):
            machine.take(Signal("blink"))

    threads = [Thread(target=move, args=(lamp,)) for lamp in lamps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [lamp.calls for lamp in lamps] == [["dark"] * 200] * 4


# ---- what needs an instance of its own ------------------------------------------------------------------


@attrs.define
class Asking(Lamp):
    def lights(self, machine: Any) -> None:  # type: ignore[override]
        self.calls.append(type(machine.model).__name__)


@attrs.define
class Taking(Lamp):
    def lights(self, **data: Any) -> None:  # type: ignore[override]
        self.calls.append(data["source"].id)


@attrs.define
class Entering(Lamp):
    def on_enter_on(self) -> None:
        self.calls.append("entered")


@attrs.define
class Judging(Lamp):
    def worn(self, source: State) -> bool:  # type: ignore[override]
        self.calls.append(source.id)
        return False


@pytest.mark.parametrize(
    ("model", "calls"),
    [
        (Asking, ["Asking"]),
        (Taking, ["off"]),
        (Entering, ["white", "entered"]),
        (Judging, ["off", "white"]),
    ],
)
def test_a_model_that_the_library_calls_otherwise(model: type[Lamp], calls: list[str]) -> None:
    assert pool_of(LampChart, model) is None
    machine = LampMachine(model())
    machine.take(Signal("light"))
    assert (machine.at, machine.model.calls) == ("on", calls)


def test_a_chart_with_a_method_or_a_setting_of_its_own() -> None:
    class Talking(Chart[Lamp]):
        kind = "lamp"
        off = State(initial=True)
        on = State(final=True)
        light = off.to(on, on="lights")

        def lights(self) -> None:
            self.model.calls.append("by the chart")

    class Tolerant(Chart[Lamp]):
        kind = "lamp"
        allow_event_without_transition = True
        off = State(initial=True)
        on = State(final=True)
        light = off.to(on, cond="worn")

    assert pool_of(Talking, Lamp) is None
    assert pool_of(Tolerant, Lamp) is None
    machine = type("TalkingMachine", (Machine,), {"chart": Talking})(Lamp())
    machine.take(Signal("light"))
    assert machine.model.calls == ["by the chart", "white"]
