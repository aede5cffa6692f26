"""What the author of a task, and the operator, can set for the process platform."""

from __future__ import annotations

import attrs

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.steps.specification import StepSpec, step_complaints

NOT_UNICODE = "holds half of a surrogate pair"


def text_problem(text: str) -> str:
    """Why a text cannot be an argument or the value of a variable; empty when it can."""
    if "\0" in text:
        return "holds a zero byte"
    try:
        text.encode()
    except UnicodeEncodeError:
        return NOT_UNICODE
    return ""


@attrs.frozen
class ProcessPayload:
    """A command or several steps that run as processes of this machine, in a folder of their own."""

    command: tuple[str, ...] = attrs.field(
        default=(),
        metadata={
            "doc": "The program and its arguments, one by one; no shell reads them. `[sh, -c, '...']` asks for one."
        },
    )
    stdin: str = attrs.field(default="", metadata={"doc": "What it reads from its standard input."})
    separate_stderr: bool = attrs.field(
        default=False,
        metadata={
            "doc": "Gives stderr a pipe of its own, so that `logs --stderr` can show it. Lines that go to both streams "
            "within a few milliseconds may then be in another order."
        },
    )
    steps: tuple[StepSpec, ...] = attrs.field(
        default=(), metadata={"doc": "Instead of `command`: scripts and commands, one after the other."}
    )


@attrs.frozen
class ProcessOptions:
    """The `[process]` section of the worker's configuration."""

    user: str = attrs.field(
        default="",
        metadata={"doc": "Run tasks as this user; the worker must be root. Empty: as the worker's own user."},
    )


def check_payload(payload: ProcessPayload) -> None:
    """Raises MalformedPayload with every complaint."""
    complaints = _step_complaints(payload)
    if not payload.steps and not (payload.command and payload.command[0]):
        complaints.append(Complaint("command", "names no program", "write for instance `[make, test]`"))
    for index, argument in enumerate(payload.command):
        if problem := text_problem(argument):
            complaints.append(Complaint(f"command[{index}]", problem, "remove it"))
    if text_problem(payload.stdin) == NOT_UNICODE:
        complaints.append(Complaint("stdin", NOT_UNICODE, "remove it"))
    if complaints:
        raise MalformedPayload(*complaints)


def _step_complaints(payload: ProcessPayload) -> list[Complaint]:
    complaints = step_complaints(payload.steps)
    for field in ("command", "stdin"):
        if payload.steps and getattr(payload, field):
            complaints.append(Complaint(field, "stands beside `steps`", "leave one of them out"))
    for index, step in enumerate(payload.steps):
        if step.working_dir.startswith("/") or ".." in step.working_dir.split("/"):
            fix = "write a relative path without `..`"
            complaints.append(Complaint(f"steps[{index}].working_dir", "does not lie in the run's folder", fix))
    return complaints
