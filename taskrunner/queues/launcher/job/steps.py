"""The steps of a job, as steps of a task."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

import attrs
from attrs.validators import min_len

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import ENV_HINT, ENV_PATTERN
from taskrunner.model import Json
from taskrunner.queues.launcher.job.step_script import FOLDER, OUTPUTS, shell_of_step

DEFAULT_SHELL = "/bin/bash -eo pipefail"

_EXPRESSION = re.compile(r"\$?\$\{\{?(.*?)\}?\}", re.DOTALL)
_OUTPUT = re.compile(r"\$\{\{\s*(steps\.[^}\s]*)\s*\}\}")


@attrs.frozen
class JobStep:
    """A step as a launcher sends it."""

    run: str = attrs.field(validator=min_len(1), metadata={"hint": "write a script"})
    id: str = ""
    name: str = ""
    if_: str = ""
    working_directory: str = ""
    env: Mapping[str, str] = attrs.field(factory=dict)
    shell: str = DEFAULT_SHELL
    outputs: tuple[Json, ...] = ()
    """Names, or tables with `name` and `required`, which is true by default."""

    @property
    def required_outputs(self) -> tuple[str, ...]:
        tables = [each if isinstance(each, Mapping) else {"name": each} for each in self.outputs]
        return tuple(str(each["name"]) for each in tables if each.get("required", True))


def task_steps(steps: Sequence[JobStep], folder: str, variables: Mapping[str, str]) -> list[dict[str, Json]]:
    """`folder` is where each step finds its commands; `variables` are those of the script before each.

    Raises: MalformedPayload with every complaint.
    """
    complaints = [each for index, step in enumerate(steps) for each in _complaints(step, f"job.steps[{index}]")]
    if not steps:
        complaints.append(Complaint("job.steps", "has no step", "send at least one"))
    if complaints:
        raise MalformedPayload(*complaints)
    return [_task_step(step, {FOLDER: folder, **variables}) for step in steps]


def _task_step(step: JobStep, variables: Mapping[str, str]) -> dict[str, Json]:
    required = step.required_outputs
    own = {name: _OUTPUT.sub(r"${\1}", value) for name, value in step.env.items()}
    own |= {**variables} | ({OUTPUTS: " ".join(required)} if required else {})
    return {
        "id": step.id,
        "name": step.name,
        "if": _condition(step.if_),
        "run": step.run,
        "working_dir": step.working_directory,
        "shell": list(shell_of_step(shlex.split(step.shell), checks_outputs=bool(required))),
        "env": own,
    }


def _condition(text: str) -> str:
    """`${{ failure() }}` is a condition, as it is written for other systems."""
    found = _EXPRESSION.fullmatch(text.strip())
    return (found[1] if found else text).strip()


def _complaints(step: JobStep, path: str) -> Iterator[Complaint]:
    try:
        if not shlex.split(step.shell):
            yield Complaint(f"{path}.shell", "names no program", f"write for instance {DEFAULT_SHELL}")
    except ValueError:
        yield Complaint(f"{path}.shell", "has a quote that does not end", f"write for instance {DEFAULT_SHELL}")
    for index, output in enumerate(step.outputs):
        name = output.get("name") if isinstance(output, Mapping) else output
        if not isinstance(name, str) or not re.fullmatch(ENV_PATTERN, name):
            yield Complaint(f"{path}.outputs[{index}]", "is no name of an output", ENV_HINT)
        elif isinstance(output, Mapping) and not isinstance(output.get("required", True), bool):
            yield Complaint(f"{path}.outputs[{index}].required", "is neither true nor false")
