"""Which step runs, and how the whole ends: every sequence of three steps."""

from __future__ import annotations

from itertools import product

import pytest

from taskrunner.errors import Bug
from taskrunner.steps.sequence import SKIPPED, StepEnd, StepSequence
from taskrunner.steps.specification import StepSpec

ENDS = {
    "success": StepEnd("success", 0, 1.0),
    "failed": StepEnd("failed", 3, 1.0, why="exit code 3"),
    "stopped": StepEnd("stopped", 137, 1.0, why="the run was ended"),
}
CONDITIONS = ("", "success()", "failure()", "always()")


def play(conditions: tuple[str, ...], ends: tuple[str, ...]) -> tuple[StepSequence, list[int]]:
    """Runs the steps that are due, each with the end that is given for it."""
    sequence, ran = StepSequence([StepSpec(id=f"s{at}", run="x", if_=text) for at, text in enumerate(conditions)]), []
    while sequence.next() is not None:
        at = len(sequence.ends)
        if sequence.is_due():
            ran.append(at)
            sequence.end(ENDS[ends[at]])
        else:
            sequence.end(SKIPPED)
    return sequence, ran


@pytest.mark.parametrize("conditions", list(product(CONDITIONS, repeat=3)))
def test_every_sequence_of_three_steps(conditions: tuple[str, ...]) -> None:
    for ends in product(ENDS, repeat=3):
        sequence, ran = play(conditions, ends)
        failed, stopped, expected = False, False, []
        for at, text in enumerate(conditions):
            due = {"": not failed, "success()": not failed, "failure()": failed, "always()": True}[text]
            if due and not stopped:
                expected.append(at)
                failed |= ends[at] != "success"
                stopped = ends[at] == "stopped"
        assert ran == expected
        outcomes = [end.outcome for end in sequence.ends]
        assert outcomes == [ends[at] if at in ran else "skipped" for at in range(3)]
        first = next((at for at in ran if ends[at] != "success"), None)
        assert sequence.exit_code == (0 if first is None else ENDS[ends[first]].exit_code)
        assert sequence.message == ("" if first is None else f"step {first + 1}/3 s{first}: {ENDS[ends[first]].why}")
        assert bool(sequence.reason) == (first is not None)


def test_the_first_failure_decides() -> None:
    sequence = StepSequence([StepSpec(name="a", run="x"), StepSpec(name="b", run="x", if_="always()")])
    sequence.end(StepEnd("failed", 137, 2.0, why="it took longer", reason="max-run-time"))
    sequence.end(StepEnd("failed", 1, 2.0, why="exit code 1"))
    assert (sequence.exit_code, sequence.reason, sequence.message) == (
        137,
        "max-run-time",
        "step 1/2 a: it took longer",
    )


def test_a_step_that_failed_with_exit_code_0_still_fails_the_run() -> None:
    sequence = StepSequence([StepSpec(run="x")])
    sequence.end(StepEnd("failed", 0, 1.0, why="$TASKRUNNER_OUTPUT is not UTF-8"))
    assert (sequence.exit_code, sequence.reason) == (1, "step-failed")


def test_a_run_that_is_stopped_between_two_steps_is_no_success() -> None:
    sequence = StepSequence([StepSpec(run="x"), StepSpec(run="x", if_="always()")])
    sequence.end(ENDS["success"])
    sequence.stop()
    assert sequence.next() is None
    assert sequence.exit_code == 137


def test_outputs_are_known_by_the_id_of_their_step() -> None:
    sequence = StepSequence(
        [StepSpec(id="a", run="x"), StepSpec(run="x"), StepSpec(run="x", if_="steps.a.outputs.X == '1'")]
    )
    sequence.end(StepEnd("success", 0, 1.0, outputs={"X": "1"}))
    sequence.end(StepEnd("success", 0, 1.0, outputs={"X": "2"}))
    assert sequence.is_due()
    assert sequence.facts.outputs == {"a": {"X": "1"}}


def test_the_description_has_each_step() -> None:
    sequence = StepSequence(
        [StepSpec(name="build", id="b", run="x"), StepSpec(run="\n  make test\n"), StepSpec(run="x")]
    )
    sequence.end(StepEnd("success", 0, 1.23456))
    sequence.end(SKIPPED)
    assert sequence.described() == [
        {"name": "build", "id": "b", "outcome": "success", "exit_code": 0, "seconds": 1.235},
        {"name": "make test", "id": "", "outcome": "skipped", "exit_code": None, "seconds": None},
    ]


def test_no_more_steps_end_than_there_are() -> None:
    sequence = StepSequence([])
    with pytest.raises(Bug):
        sequence.end(SKIPPED)
