"""`${...}` in the values of `env`."""

from __future__ import annotations

import pytest

from taskrunner.model import Task
from taskrunner.steps.condition import StepFacts
from taskrunner.steps.expansion import expand, expand_run_folder, referenced_steps

FACTS = StepFacts(False, {"a": "success"}, {"a": {"X": "${RUN_FOLDER} $(id)", "Y": "2"}})


@pytest.mark.parametrize(
    ("value", "expanded"),
    [
        ("plain", "plain"),
        ("${RUN_FOLDER}/bin:${RUN_FOLDER}", "/run/bin:/run"),
        ("${steps.a.outputs.Y}-${steps.a.outcome}", "2-success"),
        ("${steps.a.outputs.X}", "${RUN_FOLDER} $(id)"),  # what a step has written is not expanded again
        ("${steps.a.outputs.MISSING}|${steps.b.outcome}", "|"),
        ("$${RUN_FOLDER} $${steps.a.outcome}", "${RUN_FOLDER} ${steps.a.outcome}"),
        (
            "$RUN_FOLDER ${HOME} ${RUN_FOLDERS} ${{ steps.a.outcome }}",
            "$RUN_FOLDER ${HOME} ${RUN_FOLDERS} ${{ steps.a.outcome }}",
        ),
    ],
)
def test_what_is_replaced(value: str, expanded: str) -> None:
    assert expand(value, "/run", FACTS) == expanded


def test_in_the_env_of_a_task_only_the_folder_is_replaced() -> None:
    task = Task(
        "t", "process", env={"A": "${RUN_FOLDER}", "B": "$${RUN_FOLDER} ${steps.a.outcome} $${steps.a.outcome}"}
    )
    env = {**task.env, "SECRET": "${RUN_FOLDER}", "TASK_ID": "t"}
    assert expand_run_folder(env, task, "/run") == {
        "A": "/run",
        "B": "${RUN_FOLDER} ${steps.a.outcome} $${steps.a.outcome}",
        "SECRET": "${RUN_FOLDER}",
        "TASK_ID": "t",
    }


def test_which_steps_a_value_refers_to() -> None:
    assert referenced_steps("${RUN_FOLDER} ${steps.a.outputs.X} ${steps.b-2.outcome} $${steps.c.outcome} ${HOME}") == {
        "a",
        "b-2",
    }


@pytest.mark.parametrize(
    "value", ["${steps.}", "${steps.a}", "${steps.a.outputs}", "${steps.a.outputs.x-y}", "${steps.a.b}"]
)
def test_a_malformed_reference_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="is not understood"):
        referenced_steps(value)
