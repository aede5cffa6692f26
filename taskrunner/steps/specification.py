"""StepSpec: the fields of one step, and what is wrong with a list of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import attrs
from attrs.validators import deep_mapping, ge, le, matches_re, max_len, optional

from taskrunner.errors import Complaint
from taskrunner.limits import ENV_HINT, ENV_PATTERN, MAX_STEPS, PRINTABLE
from taskrunner.model import MAX_RUN_TIME
from taskrunner.steps.condition import ConditionError, parse_condition
from taskrunner.steps.expansion import referenced_steps

MAX_LABEL = 60
"""Characters of a step without a name that show which one it is: a line of a log has room for them."""

STEP_ID = r"[A-Za-z_][A-Za-z0-9_-]{0,99}"

SHELLS: Mapping[str, tuple[str, ...]] = {"sh": ("sh", "-e"), "bash": ("bash", "-eo", "pipefail")}
"""The shells by name, with the flags that end a script at its first failing command. Any other name stands for itself.
GitHub calls bash with the same flags."""

RESERVED = ("TASK_ID", "RUN_ID")
RESERVED_PREFIX = "TASKRUNNER_"


def is_reserved(variable: str) -> bool:
    """Whether the worker alone sets an environment variable of this name."""
    return variable in RESERVED or variable.startswith(RESERVED_PREFIX)


@attrs.frozen
class StepSpec:
    """One step of a task: a script or a command."""

    name: str = attrs.field(
        default="",
        validator=matches_re(rf"{PRINTABLE}{{0,200}}"),
        metadata={"doc": "A title for people.", "hint": "use one line"},
    )
    id: str = attrs.field(
        default="",
        validator=matches_re(rf"(?:{STEP_ID})?"),
        metadata={
            "doc": "The name by which later steps refer to it.",
            "hint": "use letters, digits, `_` and `-`, and begin with a letter or `_`",
        },
    )
    run: str = attrs.field(default="", metadata={"doc": "A script, which the shell reads from a file."})
    command: tuple[str, ...] = attrs.field(
        default=(), metadata={"doc": "Instead of `run`: a program and its arguments, one by one; no shell reads them."}
    )
    shell: str | tuple[str, ...] = attrs.field(
        default="sh",
        metadata={
            "doc": "What runs the script: `sh` (with -e), `bash` (with -eo pipefail), another program, or a program "
            "with its arguments. The name of the script's file is the last argument."
        },
    )
    env: Mapping[str, str] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(ENV_PATTERN), matches_re(r"[^\x00]*")),
        metadata={
            "doc": "Environment variables of this step, in whose values ${RUN_FOLDER}, ${steps.ID.outputs.NAME} and "
            "${steps.ID.outcome} are replaced.",
            "hint": f"{ENV_HINT}; a value has no NUL",
        },
    )
    if_: str = attrs.field(
        default="",
        validator=max_len(1000),
        metadata={"doc": "When it runs: success() by default, failure(), always(), or a comparison."},
    )
    working_dir: str = attrs.field(default="", metadata={"doc": "Where it starts; empty for the folder of the run."})
    max_run_time: int | None = attrs.field(
        default=None,
        validator=optional([ge(1), le(MAX_RUN_TIME)]),
        metadata={"unit": "s", "doc": "Seconds; a step that takes longer is ended, and has failed."},
    )

    @property
    def label(self) -> str:
        """Its name, its id, or the beginning of what it runs."""
        script = next((line.strip() for line in self.run.splitlines() if line.strip()), "")
        words = "".join(letter if letter.isprintable() else " " for letter in script or " ".join(self.command))
        return self.name or self.id or (words if len(words) <= MAX_LABEL else f"{words[:MAX_LABEL]}...")

    def argv(self, script: str) -> tuple[str, ...]:
        """The program and its arguments, when its script is in that file."""
        if self.command:
            return self.command
        shell = SHELLS.get(self.shell, (self.shell,)) if isinstance(self.shell, str) else self.shell
        return (*shell, script)


def step_complaints(steps: Sequence[StepSpec], path: str = "steps") -> list[Complaint]:
    """Everything that is wrong with the steps of a task, beyond what their validators say."""
    complaints = []
    if len(steps) > MAX_STEPS:
        complaints.append(Complaint(path, f"has more than {MAX_STEPS} steps", "put several commands into one step"))
    counted = Counter(step.id for step in steps if step.id)
    for index, step in enumerate(steps[:MAX_STEPS]):
        where = f"{path}[{index}]"
        if counted[step.id] > 1 and any(step.id == earlier.id for earlier in steps[:index]):
            complaints.append(Complaint(f"{where}.id", f"{step.id} is the id of an earlier step", "take another one"))
        complaints += _own_complaints(step, where)
        complaints += _reference_complaints(step, where, {earlier.id for earlier in steps[:index] if earlier.id})
    return complaints


def _own_complaints(step: StepSpec, where: str) -> Iterator[Complaint]:
    if step.run and step.command:
        yield Complaint(f"{where}.command", "stands beside `run`", "leave one of them out, or make it two steps")
    elif not step.run.strip() and not (step.command and step.command[0]):
        yield Complaint(where, "runs nothing", "give it a `run` or a `command`")
    if any("\0" in text for text in (step.run, step.working_dir, *step.command, *step.shell)):
        yield Complaint(where, "holds a zero byte", "remove it")
    if not step.shell or not step.shell[0]:
        yield Complaint(f"{where}.shell", "names no program", 'write for instance "bash"')
    for name in step.env:
        if is_reserved(name):
            yield Complaint(f"{where}.env.{name}", "is set by the worker", "take another name")


def _reference_complaints(step: StepSpec, where: str, known: set[str]) -> Iterator[Complaint]:
    try:
        condition = parse_condition(step.if_)
    except ConditionError as error:
        yield Complaint(f"{where}.if", str(error), "as in `failure() && steps.test.outcome == 'failed'`")
    else:
        yield from (_unknown(f"{where}.if", each) for each in sorted(condition.steps - known))
    for name, value in step.env.items():
        try:
            named = referenced_steps(value)
        except ValueError as error:
            yield Complaint(f"{where}.env.{name}", str(error), "write ${steps.ID.outputs.NAME} or ${steps.ID.outcome}")
        else:
            yield from (_unknown(f"{where}.env.{name}", each) for each in sorted(named - known))


def _unknown(where: str, step_id: str) -> Complaint:
    return Complaint(where, f"no earlier step has the id {step_id}", "give that step an `id`, and put it before")
