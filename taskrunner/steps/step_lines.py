"""The lines of the worker's own that say in a log where a step begins and ends, written and read.

::

    step 2/5 test
    step 2/5 test: failed (exit code 1) after 3.1 s
    step 3/5 report: skipped
"""

from __future__ import annotations

import re

import attrs

from taskrunner.steps.condition import OUTCOMES
from taskrunner.steps.sequence import StepEnd

_LINE = re.compile(r"step (\d{1,4})/\d{1,4} (.*)", re.DOTALL)
_END = re.compile(rf"(.*): ({'|'.join(OUTCOMES)})(?: \((.*)\))?(?: after \d+\.\d s)?", re.DOTALL)


@attrs.frozen
class StepLine:
    """What such a line says."""

    number: int
    """1 for the first step."""
    label: str
    """With the secrets of the run masked, as all of a log is."""
    outcome: str = ""
    """Empty when the step begins."""


def end_line(title: str, end: StepEnd) -> str:
    """The line at the end of a step, whose first line is its title."""
    why = f" ({end.why})" if end.why else ""
    after = "" if end.seconds is None else f" after {end.seconds:.1f} s"
    return f"{title}: {end.outcome}{why}{after}"


def read_step_line(line: str, running: StepLine | None) -> StepLine | None:
    """What a line of the worker's says about a step; None when it is about something else. `running` is the step that
    has begun: only that one ends, and one that has not begun is skipped."""
    found = _LINE.fullmatch(line)
    if not found:
        return None
    number, rest = int(found[1]), found[2]
    if running and running.number == number:
        return _read_end(running, rest)
    skipped = rest.removesuffix(": skipped")
    return StepLine(number, skipped, "skipped" if skipped != rest else "")


def _read_end(running: StepLine, rest: str) -> StepLine | None:
    found = _END.fullmatch(rest.removeprefix(running.label)) if rest.startswith(running.label) else None
    return attrs.evolve(running, outcome=found[2]) if found and not found[1] else None
