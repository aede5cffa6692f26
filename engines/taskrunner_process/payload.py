"""What the author of a task, and the operator, can set for the process platform."""

from __future__ import annotations

import attrs

from taskrunner.errors import Complaint, MalformedPayload

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
    """A command that runs as a process of this machine, in a folder of its own."""

    command: tuple[str, ...] = attrs.field(
        metadata={
            "doc": "The program and its arguments, one by one; no shell reads them. `[sh, -c, '...']` asks for one."
        }
    )
    stdin: str = attrs.field(default="", metadata={"doc": "What it reads from its standard input."})
    separate_stderr: bool = attrs.field(
        default=False,
        metadata={
            "doc": "Gives stderr a pipe of its own, so that `logs --stderr` can show it. Lines that go to both streams "
            "within a few milliseconds may then be in another order."
        },
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
    complaints = []
    if not payload.command or not payload.command[0]:
        complaints.append(Complaint("command", "names no program", "write for instance `[make, test]`"))
    for index, argument in enumerate(payload.command):
        if problem := text_problem(argument):
            complaints.append(Complaint(f"command[{index}]", problem, "remove it"))
    if text_problem(payload.stdin) == NOT_UNICODE:
        complaints.append(Complaint("stdin", NOT_UNICODE, "remove it"))
    if complaints:
        raise MalformedPayload(*complaints)
