"""`${...}` in the values of `env`: `${RUN_FOLDER}`, `${steps.ID.outputs.NAME}`, `${steps.ID.outcome}`.

Only there, and never in a script: what one step has written must not become the program of another. Any other `${` is
text, and so is a reference with one more `$` before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from taskrunner.model import Task
from taskrunner.steps.condition import REFERENCE, StepFacts

_REFERENCE = re.compile(r"(\$?)\$\{(RUN_FOLDER|steps\.[^}]*)\}")


def expand(value: str, run_folder: str, facts: StepFacts | None = None) -> str:
    """The value with its references replaced; without `facts`, of `${RUN_FOLDER}` alone. An output that was not written
    is empty."""

    def replacement(found: re.Match[str]) -> str:
        escaped, reference = found.groups()
        if reference != "RUN_FOLDER" and facts is None:
            return found[0]
        if escaped:
            return found[0][1:]
        return run_folder if reference == "RUN_FOLDER" else _step_value(reference, facts or StepFacts())

    return _REFERENCE.sub(replacement, value)


def literally(value: str) -> str:
    """The text that expands to this value, in the environment of a task."""
    return value.replace("${RUN_FOLDER}", "$${RUN_FOLDER}")


def expand_run_folder(env: Mapping[str, str], task: Task, run_folder: str) -> dict[str, str]:
    """The environment of `Engine.start`, with `${RUN_FOLDER}` replaced in what is from the task's `env`, and not in its
    secrets."""
    return {name: expand(value, run_folder) if task.env.get(name) == value else value for name, value in env.items()}


def _step_value(reference: str, facts: StepFacts) -> str:
    found = REFERENCE.fullmatch(reference)
    if found is None:
        return ""  # refused when the task was checked
    step, name = found.groups()
    return facts.outcomes.get(step, "") if name is None else facts.outputs.get(step, {}).get(name, "")


def referenced_steps(value: str) -> set[str]:
    """The ids of the steps that a value refers to. Raises ValueError for a reference that cannot be understood."""
    named = set()
    for escaped, reference in _REFERENCE.findall(value):
        if escaped or reference == "RUN_FOLDER":
            continue
        found = REFERENCE.fullmatch(reference)
        if not found:
            raise ValueError(f"${{{reference[:60]}}} is not understood")
        named.add(found[1])
    return named
