"""The steps of a run as lines, with what each came to and how long it took."""

from __future__ import annotations

from collections.abc import Mapping

from taskrunner.cli.display.sanitize import printable
from taskrunner.model import Document, Json


def step_lines(result: Document) -> list[str]:
    """A line for each step in the result of a run; none when there are no steps, or when they have another form."""
    steps = result.get("steps")
    if not isinstance(steps, list | tuple) or not all(_is_step(step) for step in steps):
        return []
    width = max((len(str(step["outcome"])) for step in steps), default=0)
    return [_line(number, len(steps), step, width) for number, step in enumerate(steps, 1)]


def _is_step(step: Json) -> bool:
    if not isinstance(step, Mapping) or not {"name", "outcome"} <= step.keys():
        return False
    seconds = step.get("seconds")
    return (
        isinstance(step["name"], str) and isinstance(step["outcome"], str) and isinstance(seconds, int | float | None)
    )


def _line(number: int, total: int, step: Mapping[str, Json], width: int) -> str:
    seconds, code = step.get("seconds"), step.get("exit_code")
    took = f"{seconds:8.2f} s" if isinstance(seconds, int | float) else " " * 10
    failed = f" (exit code {code})" if isinstance(code, int) and code else ""
    count = f"{number:>{len(str(total))}}/{total}"
    return f"step {count}  {printable(str(step['outcome'])):<{width}}  {took}  {printable(str(step['name']))}{failed}"
