"""What the author of a task, and the operator, can set for the process platform."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
    working_dir: str = attrs.field(
        default="",
        metadata={
            "doc": "Where the command, and a step that names no other folder, starts: relative to the run's folder, as "
            "artifacts and caches are."
        },
    )


@attrs.frozen
class ToolchainOptions:
    """A table `[process.toolchains.NAME]`: a toolchain of which checkouts ask for a version."""

    file: str = attrs.field(
        validator=attrs.validators.matches_re(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,255}"),
        metadata={
            "doc": "The file in the root of a checkout whose first line is the version: `.xcode-version`.",
            "hint": "write the name of a file, without a folder",
        },
    )
    installed_at: str = attrs.field(
        default="",
        validator=attrs.validators.matches_re(r"(?:/[^*?\[\x00]*\*[^*?\[\x00]*)?"),
        metadata={
            "doc": "Where the versions of this machine are, with `*` for the version: `/opt/xcode/*/Xcode.app`.",
            "hint": "write a full path with one `*` for the version",
        },
    )
    list_command: tuple[str, ...] = attrs.field(
        default=(), metadata={"doc": "Instead: a command that prints the versions of this machine, one a line."}
    )
    install_command: tuple[str, ...] = attrs.field(
        default=(),
        metadata={
            "doc": "Installs a version, which stands for `{version}` in its arguments. It runs in the background, as "
            "the worker's user. Empty: nothing is installed."
        },
    )


@attrs.frozen
class ProcessOptions:
    """The `[process]` table of the worker's configuration."""

    user: str = attrs.field(
        default="",
        metadata={
            "doc": "Run tasks as this user. The worker is root, or a rule of sudo allows it. Empty: as its own user."
        },
    )
    users: tuple[str, ...] = attrs.field(
        default=(),
        metadata={
            "doc": "Give each run one of these users for itself; root or sudo as for `user`. As many as the "
            "`capacity` of all workers of the machine, used by nobody else: whatever runs as one of them is killed "
            "before and after."
        },
    )
    toolchains: Mapping[str, ToolchainOptions] = attrs.field(
        factory=dict,
        validator=attrs.validators.deep_mapping(attrs.validators.matches_re(r"[a-z0-9][a-z0-9_-]{0,31}")),
        metadata={
            "doc": "Toolchains of which a checkout may ask for a version. A run without its version is handed back.",
            "hint": "use small letters, digits, `-` and `_` in the name of a toolchain",
        },
    )
    group: str = attrs.field(
        default="", metadata={"doc": "The group of `user` in tasks. Empty: the one that the system has for the user."}
    )


def toolchain_complaints(options: ProcessOptions) -> Iterable[Complaint]:
    """What the decoder cannot see in the tables of toolchains."""
    for name, toolchain in options.toolchains.items():
        if bool(toolchain.installed_at) == bool(toolchain.list_command):
            problem = "needs `installed_at` or `list_command`, and not both"
            yield Complaint(f"toolchains.{name}", problem, "say how the versions of this machine are found")


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
    folders = {f"steps[{index}].working_dir": step.working_dir for index, step in enumerate(payload.steps)}
    for path, folder in {"working_dir": payload.working_dir, **folders}.items():
        if folder.startswith("/") or ".." in folder.split("/") or text_problem(folder):
            fix = "write a relative path without `..`"
            complaints.append(Complaint(path, "does not lie in the run's folder", fix))
    return complaints
