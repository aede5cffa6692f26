"""The fields of a step: decoding, every complaint at once, the JSON Schema, and what is started."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from taskrunner.errors import MalformedPayload
from taskrunner.schema.decode import decode
from taskrunner.schema.json_schema import object_schema
from taskrunner.steps.specification import StepSpec, step_complaints

AS_IN = "(as in `failure() && steps.test.outcome == 'failed'`)"


def complaints(*steps: dict[str, Any]) -> list[str]:
    return [str(each) for each in step_complaints([decode(StepSpec, step) for step in steps])]


def test_a_whole_step_is_read() -> None:
    document = {
        "name": "test", "id": "t", "run": "make test", "shell": ["bash", "-euo", "pipefail"], "env": {"A": "1"},
        "if": "always()", "working_dir": "src", "max_run_time": 60,
    }  # fmt: skip
    jsonschema.validate(document, object_schema(StepSpec))
    step = decode(StepSpec, document)
    assert (step.if_, step.shell, step.max_run_time) == ("always()", ("bash", "-euo", "pipefail"), 60)
    assert step_complaints([step]) == []


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"run": "x", "if_": "always()"}, "if_: is not known here (did you mean if?)"),
        ({"run": "x", "if": True}, "if: expected a text, got true or false (write it in quotes)"),
        ({"run": "x", "if": "x" * 1001}, "if: is longer than 1000"),
        ({"run": "x", "shell": 1}, "shell: expected a text or a list of texts, got"),
        ({"run": "x", "shell": ["sh", 1]}, "shell[1]: expected a text, got"),
        ({"run": ["make"]}, "run: expected a text, got a list"),
        ({"run": "x", "id": "1a"}, "id: is not of the form it needs"),
        ({"run": "x", "id": "a.b"}, "id: is not of the form it needs"),
        ({"run": "x", "name": "a\nb"}, "name: is not of the form it needs (use one line)"),
        ({"run": "x", "max_run_time": 0}, "max_run_time: must be at least 1 s"),
        ({"run": "x", "env": {"A-B": "1"}}, "is not of the form it needs"),
        ({"run": "x", "uses": "actions/checkout"}, "uses: is not known here"),
    ],
)
def test_what_the_decoder_refuses(document: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        decode(StepSpec, document)
    assert complaint in str(caught.value)
    assert "if_" in document or not jsonschema.Draft202012Validator(object_schema(StepSpec)).is_valid(document)


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ({}, "steps[0]: runs nothing (give it a `run` or a `command`)"),
        ({"run": " \n"}, "steps[0]: runs nothing (give it a `run` or a `command`)"),
        ({"command": [""]}, "steps[0]: runs nothing (give it a `run` or a `command`)"),
        ({"run": "a", "command": ["b"]}, "steps[0].command: stands beside `run`"),
        ({"run": "a\0"}, "steps[0]: holds a zero byte"),
        ({"command": ["a", "\0"]}, "steps[0]: holds a zero byte"),
        ({"run": "a", "shell": []}, "steps[0].shell: names no program"),
        ({"run": "a", "shell": ""}, "steps[0].shell: names no program"),
        ({"run": "a", "shell": [""]}, "steps[0].shell: names no program"),
        ({"run": "a", "env": {"TASK_ID": "x"}}, "steps[0].env.TASK_ID: is set by the worker"),
        ({"run": "a", "env": {"TASKRUNNER_ENV": "x"}}, "steps[0].env.TASKRUNNER_ENV: is set by the worker"),
        ({"run": "a", "if": "maybe()"}, "steps[0].if: has no function maybe()"),
        ({"run": "a", "if": "steps.x.outcome == 'failed'"}, "steps[0].if: no earlier step has the id x"),
        ({"run": "a", "id": "me", "if": "steps.me.outputs.X == ''"}, "steps[0].if: no earlier step has the id me"),
        ({"run": "a", "env": {"X": "${steps.x.outputs.Y}"}}, "steps[0].env.X: no earlier step has the id x"),
        ({"run": "a", "env": {"X": "${steps.x}"}}, "steps[0].env.X: ${steps.x} is not understood"),
    ],
)
def test_what_the_check_refuses(step: dict[str, Any], complaint: str) -> None:
    found = complaints(step)
    assert len(found) == 1
    assert complaint in found[0]


def test_all_complaints_come_at_once() -> None:
    assert complaints(
        {"run": "a", "id": "a"},
        {"run": "b", "id": "a", "if": "never()"},
        {"id": "a", "env": {"X": "${steps.later.outcome}${steps.a.outcome}"}},
        {"run": "c", "id": "later"},
    ) == [
        "steps[1].id: a is the id of an earlier step (take another one)",
        f"steps[1].if: has no function never(): there are success(), failure(), always() {AS_IN}",
        "steps[2].id: a is the id of an earlier step (take another one)",
        "steps[2]: runs nothing (give it a `run` or a `command`)",
        "steps[2].env.X: no earlier step has the id later (give that step an `id`, and put it before)",
    ]


def test_a_hundred_steps_are_accepted_and_no_more() -> None:
    assert complaints(*[{"run": "x"}] * 100) == []
    assert complaints(*[{"run": "x"}] * 101) == ["steps: has more than 100 steps (put several commands into one step)"]


@pytest.mark.parametrize(
    ("step", "argv"),
    [
        (StepSpec(run="x"), ("sh", "-e", "/f")),
        (decode(StepSpec, {"run": "x", "shell": "bash"}), ("bash", "-eo", "pipefail", "/f")),
        (decode(StepSpec, {"run": "x", "shell": "python3"}), ("python3", "/f")),
        (decode(StepSpec, {"run": "x", "shell": ["bash", "-x"]}), ("bash", "-x", "/f")),
        (StepSpec(command=("make", "a b")), ("make", "a b")),
    ],
)
def test_what_is_started(step: StepSpec, argv: tuple[str, ...]) -> None:
    assert step.argv("/f") == argv


@pytest.mark.parametrize(
    ("step", "label"),
    [
        (StepSpec(name="n", id="i", run="x"), "n"),
        (StepSpec(id="i", run="x"), "i"),
        (StepSpec(run="\n  make test\nmore"), "make test"),
        (StepSpec(command=("make", "a\x1b[31m")), "make a [31m"),
        (StepSpec(run="x" * 100), "x" * 60 + "..."),
    ],
)
def test_the_label_of_a_step(step: StepSpec, label: str) -> None:
    assert step.label == label
