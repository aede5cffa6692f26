"""Every kind of hostile or mistaken list of steps, with its message."""

from __future__ import annotations

from typing import Any

import pytest

from taskrunner.errors import MalformedPayload
from taskrunner.model import Document
from taskrunner.schema.task import decode_task
from taskrunner_process.payload import ProcessPayload, check_payload

NOTHING = "steps[0]: runs nothing (give it a `run` or a `command`)"
ZERO = "steps[0]: holds a zero byte (remove it)"
OUTSIDE = "steps[0].working_dir: does not lie in the run's folder (write a relative path without `..`)"
ENV_NAME = "is not of the form it needs (a name has letters"
TEXT = "expected a text, got"
AS_IN = "(as in `failure() && steps.test.outcome == 'failed'`)"
REFERENCE = "(write ${steps.ID.outputs.NAME} or ${steps.ID.outcome})"


def step(**fields: Any) -> list[dict[str, Any]]:
    """One step that runs, with one thing wrong."""
    return [{"run": "true", **fields}]


def with_shell(name: object) -> list[dict[str, Any]]:
    return step(shell=name)


HOSTILE: dict[str, tuple[Any, str]] = {
    "no list": ("true", "steps: expected a list, got a text (write a list in brackets, even of one)"),
    "a table": ({"run": "true"}, "steps: expected a list, got a table"),
    "texts": (["true"], "steps[0]: expected a table, got a text (write keys and values)"),
    "nothing in it": ([], "command: names no program"),
    "a list in a list": ([[{"run": "true"}]], "steps[0]: expected a table, got a list"),
    "too many": (step() * 101, "steps: has more than 100 steps (put several commands into one step)"),
    "far too many": (step() * 20_000, "steps: has more than 10000 items"),
    "an unknown field": (step(uses="actions/checkout@v4"), "steps[0].uses: is not known here"),
    "a field of another system": (step(continue_on_error=True), "steps[0].continue_on_error: is not known here"),
    "a misspelt field": (step(shel="bash"), "steps[0].shel: is not known here (did you mean shell?)"),
    "no script": ([{}], NOTHING),
    "an empty script": ([{"run": ""}], NOTHING),
    "a script of blanks": ([{"run": " \n\t"}], NOTHING),
    "an empty command": ([{"command": []}], NOTHING),
    "a command without a name": ([{"command": ["", "x"]}], NOTHING),
    "a script and a command": (step(command=["b"]), "steps[0].command: stands beside `run`"),
    "a script that is a list": ([{"run": ["a"]}], f"steps[0].run: {TEXT} a list"),
    "a script that is a number": ([{"run": 1}], f"steps[0].run: {TEXT}"),
    "a script with a zero byte": ([{"run": "a\0b"}], ZERO),
    "a script with half a character": ([{"run": "\ud800"}], "steps[0].run: "),
    "a command that is a text": ([{"command": "make test"}], "steps[0].command: expected a list, got a text"),
    "a command with a zero byte": ([{"command": ["a", "\0"]}], ZERO),
    "a command with a number": ([{"command": ["sleep", 1]}], f"steps[0].command[1]: {TEXT}"),
    "a command of null": ([{"command": [None]}], f"steps[0].command[0]: {TEXT}"),
    "no shell": (with_shell(""), 'steps[0].shell: names no program (write for instance "bash")'),
    "a shell of nothing": (with_shell([]), "steps[0].shell: names no program"),
    "a shell without a name": (with_shell([""]), "steps[0].shell: names no program"),
    "a shell with a zero byte": (with_shell(["sh", "\0"]), ZERO),
    "a shell that is a number": (with_shell(1), "steps[0].shell: expected a text or a list of texts"),
    "a name of two lines": (step(name="a\nb"), "steps[0].name: is not of the form it needs (use one line)"),
    "a name with a control character": (step(name="\x1b[2J"), "steps[0].name: is not of the form it needs"),
    "a name without an end": (step(name="n" * 201), "steps[0].name: is not of the form it needs"),
    "an id with a blank": (step(id="a b"), "steps[0].id: is not of the form it needs (use letters, digits"),
    "an id with a dot": (step(id="a.outputs"), "steps[0].id: is not of the form it needs"),
    "an id that is an expression": (step(id="${RUN_FOLDER}"), "steps[0].id: is not of the form it needs"),
    "an id without an end": (step(id="a" * 101), "steps[0].id: is not of the form it needs"),
    "an id twice": (
        [{"run": "a", "id": "x"}, {"run": "b", "id": "x"}],
        "steps[1].id: x is the id of an earlier step (take another one)",
    ),
    "a variable of the worker": (step(env={"TASK_ID": "x"}), "steps[0].env.TASK_ID: is set by the worker"),
    "a file of the worker": (
        step(env={"TASKRUNNER_OUTPUT": "/etc/x"}),
        "steps[0].env.TASKRUNNER_OUTPUT: is set by the worker (take another name)",
    ),
    "a variable that is none": (step(env={"A=B": "x"}), f'steps[0].env["A=B"]: {ENV_NAME}'),
    "a variable with a zero byte": (step(env={"A": "\0"}), "steps[0].env.A: is not of the form it needs"),
    "a variable that is a table": (step(env={"A": {}}), f"steps[0].env.A: {TEXT} a table"),
    "variables in a list": (step(env=["A=B"]), "steps[0].env: expected a table, got a list"),
    "a reference to no step": (step(env={"A": "${steps.x.outputs.Y}"}), "steps[0].env.A: no earlier step has the id x"),
    "a reference to itself": (
        step(id="me", env={"A": "${steps.me.outcome}"}),
        "steps[0].env.A: no earlier step has the id me (give that step an `id`, and put it before)",
    ),
    "a reference to a later step": (
        [{"run": "a", "env": {"A": "${steps.b.outcome}"}}, {"run": "b", "id": "b"}],
        "steps[0].env.A: no earlier step has the id b",
    ),
    "a reference to everything": (step(env={"A": "${steps.x}"}), f"${{steps.x}} is not understood {REFERENCE}"),
    "a condition of another system": (step(**{"if": "${{ github.ref }}"}), "is not understood from '${{ github"),
    "a condition with a command": (step(**{"if": "`id`"}), f"steps[0].if: is not understood from '`id`' on {AS_IN}"),
    "a condition without an end": (step(**{"if": "always() &&"}), "steps[0].if: ends where"),
    "a condition with an unknown function": (step(**{"if": "cancelled()"}), "steps[0].if: has no function cancelled()"),
    "a condition on no step": (step(**{"if": "steps.x.outcome == 'failed'"}), "no earlier step has the id x"),
    "a condition that compares nothing": (step(**{"if": "'x'"}), "steps[0].if: compares \"'x'\" with nothing"),
    "a condition of a thousand brackets": (step(**{"if": "(" * 400 + "always()" + ")" * 400}), "is nested more than"),
    "a condition without end": (step(**{"if": "!" * 1001}), "steps[0].if: is longer than 1000"),
    "a condition that is a flag": (step(**{"if": True}), f"steps[0].if: {TEXT}"),
    "a folder from the root": (step(working_dir="/etc"), OUTSIDE),
    "a folder above": (step(working_dir="../x"), OUTSIDE),
    "a folder that goes up and down": (step(working_dir="a/../../b"), OUTSIDE),
    "a folder with a zero byte": (step(working_dir="a\0"), ZERO),
    "a time of nothing": (step(max_run_time=0), "steps[0].max_run_time: must be at least 1 s"),
    "a time before now": (step(max_run_time=-1), "steps[0].max_run_time: must be at least 1 s"),
    "a time of years": (step(max_run_time=10**9), "steps[0].max_run_time: must be at most 604800 s"),
    "a time of words": (step(max_run_time="5m"), "steps[0].max_run_time: expected a whole number, got a text"),
    "a time with a fraction": (step(max_run_time=1.5), "steps[0].max_run_time: expected a whole number"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_list_of_steps_is_refused_with_the_place(name: str) -> None:
    steps, problem = HOSTILE[name]
    with pytest.raises(MalformedPayload) as caught:
        check({"platform": "process", "steps": steps})
    assert any(problem in str(complaint) for complaint in caught.value.complaints), str(caught.value)
    assert len(caught.value.complaints) <= 2


def check(document: Document) -> None:
    """What a worker checks before it loads a task."""
    _, payload = decode_task(document, {"process": ProcessPayload})
    assert isinstance(payload, ProcessPayload)
    check_payload(payload)
