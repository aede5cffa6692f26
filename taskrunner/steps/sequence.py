"""StepSequence: which step runs next, and how the whole ends. Pure: the caller reports how each step ended.

The first step that fails decides how the run ends. The steps after it run only if their condition says so. When the run
is stopped, nothing runs any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from taskrunner.errors import Bug
from taskrunner.model import Json
from taskrunner.steps.condition import Outcome, StepFacts, parse_condition
from taskrunner.steps.specification import StepSpec


@attrs.frozen
class StepEnd:
    """How one step ended."""

    outcome: Outcome
    exit_code: int | None = None
    """128 plus the signal's number when a signal ended it; None when nothing ran."""
    seconds: float | None = None
    """How long it ran; None for a skipped one."""
    why: str = ""
    """What went wrong: `exit code 1`."""
    reason: str = "step-failed"
    """The reason of the run, if this is the first step that fails."""
    outputs: Mapping[str, str] = attrs.field(factory=dict, repr=False)


SKIPPED = StepEnd("skipped")

KILLED = 137
"""The exit code of a process that was killed, in a shell."""


@attrs.define
class StepSequence:
    """The steps of one run, and how those that are over ended."""

    steps: Sequence[StepSpec]
    ends: list[StepEnd] = attrs.field(factory=list)
    stopped: bool = False
    """Whether the run was ended from outside."""

    def next(self) -> StepSpec | None:
        """The step to run now, or to skip when `is_due` says so; None at the end."""
        return self.steps[len(self.ends)] if len(self.ends) < len(self.steps) else None

    def is_due(self) -> bool:
        """Whether the condition of the next step holds."""
        step = self.next()
        return step is not None and parse_condition(step.if_).holds(self.facts)

    def end(self, end: StepEnd) -> None:
        """The next step has ended, or is skipped. Raises Bug when there is none."""
        if self.next() is None:
            raise Bug("more steps have ended than there are")
        self.ends.append(end)
        if end.outcome == "stopped":
            self.stop()

    def stop(self) -> None:
        """The run was ended from outside: whatever has not begun is skipped."""
        self.stopped = True
        self.ends += [SKIPPED] * (len(self.steps) - len(self.ends))

    @property
    def facts(self) -> StepFacts:
        """What the condition and the variables of the next step can refer to."""
        known = [(step.id, end) for step, end in zip(self.steps, self.ends, strict=False) if step.id]
        return StepFacts(
            failed=self._first_failed is not None,
            outcomes={name: end.outcome for name, end in known},
            outputs={name: end.outputs for name, end in known},
        )

    # ---- how the whole ends -----------------------------------------------------------------------------

    @property
    def _first_failed(self) -> int | None:
        return next((at for at, end in enumerate(self.ends) if end.outcome in ("failed", "stopped")), None)

    @property
    def exit_code(self) -> int:
        """That of the first step that failed, which is never 0; 0 when all went well."""
        at = self._first_failed
        if at is None:
            return KILLED if self.stopped else 0
        return self.ends[at].exit_code or 1

    @property
    def reason(self) -> str:
        at = self._first_failed
        return "" if at is None else self.ends[at].reason

    @property
    def message(self) -> str:
        """Which step failed, and why."""
        at = self._first_failed
        return "" if at is None else f"{self.title(at)}: {self.ends[at].why}"

    def title(self, at: int) -> str:
        """`step 2/5 test`, for the step with this index."""
        return f"step {at + 1}/{len(self.steps)} {self.steps[at].label}"

    def described(self) -> list[dict[str, Json]]:
        """Each step for the result of the run: name, id, outcome, exit code and seconds."""
        return [
            {
                "name": step.label,
                "id": step.id,
                "outcome": end.outcome,
                "exit_code": end.exit_code,
                "seconds": None if end.seconds is None else round(end.seconds, 3),
            }
            for step, end in zip(self.steps, self.ends, strict=False)
        ]
