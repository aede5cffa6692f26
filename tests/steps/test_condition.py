"""The language of `if`: what it means, and what it refuses."""

from __future__ import annotations

import pytest

from taskrunner.steps.condition import MAX_DEPTH, ConditionError, StepFacts, parse_condition

GOOD = StepFacts(False, {"a": "success", "b-2": "skipped"}, {"a": {"VERSION": "1.2", "quoted": "it's"}})
BAD = StepFacts(True, {"a": "failed"}, {"a": {"VERSION": "1.2"}})


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("", True, False),
        ("   ", True, False),
        ("success()", True, False),
        ("failure()", False, True),
        ("always()", True, True),
        (" always( ) ", True, True),
        ("!failure()", True, False),
        ("! ! always()", True, True),
        ("success() || failure()", True, True),
        ("success() && failure()", False, False),
        ("failure() || success() && always()", True, True),
        ("(failure() || success()) && failure()", False, True),
        ("!(success() || failure())", False, False),
        ("failure() && steps.a.outcome == 'failed'", False, True),
        ("always() && steps.a.outcome != 'failed'", True, False),
        ("always() && 'success' == steps.a.outcome", True, False),
        ("always() && steps.a.outputs.VERSION == '1.2'", True, True),
        ("always() && steps.a.outputs.VERSION == steps.a.outcome", False, False),
        ("always() && steps.a.outputs.MISSING == ''", True, True),
        ("always() && steps.unknown.outcome != 'success'", True, True),
        # Without one of the three functions it holds only while no step has failed.
        ("steps.a.outputs.VERSION == '1.2'", True, False),
        ("steps.a.outcome == 'failed'", False, False),
        ("steps.b-2.outcome == 'skipped'", True, False),
        ("steps.a.outputs.quoted == 'it''s'", True, False),
        ("'x' == 'x' || 'x' == 'y'", True, False),
    ],
)
def test_what_a_condition_means(text: str, good: bool, bad: bool) -> None:
    condition = parse_condition(text)
    assert (condition.holds(GOOD), condition.holds(BAD)) == (good, bad)


def test_a_condition_names_the_steps_that_it_refers_to() -> None:
    condition = parse_condition(
        "failure() && (steps.a.outcome == 'failed' || steps.b-2.outputs.X != steps.c.outputs.Y)"
    )
    assert condition.steps == {"a", "b-2", "c"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${{ always() }}", "is not understood from '${{ always() }}' on"),
        ("cancelled()", "has no function cancelled(): there are success(), failure(), always()"),
        ("always", "has 'always' where"),
        ("always() always()", "is not understood from 'always()' on"),
        ("always() &&", "ends where"),
        ("&& always()", "has '&&' where"),
        ("(always()", "has a `(` without its `)`"),
        ("always())", "is not understood from ')' on"),
        ("'text'", "compares \"'text'\" with nothing"),
        ("steps.a.outcome", "compares 'steps.a.outcome' with nothing"),
        ("steps.a.outcome = 'failed'", "is not understood from \"= 'failed'\" on"),
        ("steps.a.outcome == failed", "has 'failed' where"),
        ("steps.a.outcome == 'failure'", "it is one of success, failed, skipped, stopped"),
        ("'ok' != steps.a.outcome", "it is one of success, failed, skipped, stopped"),
        ("steps.a.conclusion == 'x'", "has 'steps.a.conclusion' where"),
        ("steps.a.outputs == 'x'", "has 'steps.a.outputs' where"),
        ("steps.a.outputs.x-y == 'x'", "has 'steps.a.outputs.x-y' where"),
        ("env.X == 'x'", "has 'env.X' where"),
        ("always() == 'x'", "is not understood from '==' on"),
        ("'open == 'x'", "is not understood from"),
        ("`id`", "is not understood from '`id`' on"),
        ("(" * 400 + "always()" + ")" * 400, f"is nested more than {MAX_DEPTH} deep"),
        ("!" * 900 + "always()", f"is nested more than {MAX_DEPTH} deep"),
    ],
)
def test_what_is_not_understood(text: str, problem: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse_condition(text)
    assert problem in str(caught.value)


def test_a_long_chain_is_understood() -> None:
    assert parse_condition(" && ".join(["always()"] * 80)).holds(BAD)
