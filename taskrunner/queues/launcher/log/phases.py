"""The phases of a build: what its log is marked with, made of the moves of the run and of the lines about its steps.

Each step is a phase of its own. The other phases are states of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

import attrs

from taskrunner.model import Move, Resolution
from taskrunner.steps.step_lines import StepLine, read_step_line

Result = Literal["success", "failed", "skipped"]
"""The protocol knows `warning` too. Nothing in a run is half a success."""

PHASES = {"claimed": "START_BUILD", "loading": "PREPARE_PROJECT", "uploading": "UPLOAD_ARTIFACTS"}
"""The phase of each state of a run that is one."""

LAST_PHASE = "COMPLETE_BUILD"

RESULTS: dict[str, Result] = {"success": "success", "failed": "failed", "skipped": "skipped", "stopped": "failed"}
"""Of a step, by its outcome."""


@attrs.frozen
class Phase:
    """A part of the log."""

    name: str
    began: datetime
    step_id: str = ""
    """Empty for a phase that is no step."""


@attrs.frozen
class Marker:
    """The beginning or the end of a phase."""

    phase: Phase
    at: datetime
    result: Result | None = None
    """None at the beginning."""

    @property
    def duration(self) -> int:
        """Milliseconds."""
        return max(0, round((self.at - self.phase.began).total_seconds() * 1000))


@attrs.define
class LogPhases:
    """Which phase it is now."""

    step_ids: Sequence[str] = ()
    """The ids of the steps of the job; empty ones for those without."""
    current: Phase | None = None
    failed: str = ""
    """The name of the first phase that has failed."""
    _step: StepLine | None = None

    def moved(self, move: Move, ending: Resolution | None, at: datetime) -> Iterator[Marker]:
        """The run is in another state."""
        yield from self._end(self._result(ending), at)
        if name := PHASES.get(move.target):
            yield self._begin(Phase(name, at))

    def line(self, text: str, at: datetime) -> Iterator[Marker]:
        """A line of the worker's own. No marker: it is about something else."""
        found = read_step_line(text, self._step)
        if found is None:
            return
        if not found.outcome or found.outcome == "skipped":
            yield from self._end("success", at)
            yield self._begin(Phase(found.label, at, self._id_of(found.number)))
            self._step = found
        if found.outcome:
            yield from self._end(RESULTS[found.outcome], at)

    def finish(self, resolution: Resolution, at: datetime) -> Iterator[Marker]:
        """The build is over."""
        yield from self._end(self._result(resolution), at)
        yield self._begin(Phase(LAST_PHASE, at))
        yield from self._end("success" if resolution.kind == "completed" else "failed", at)

    def _result(self, ending: Resolution | None) -> Result:
        """Of what ends now. After a step that has failed, the upload has not: it is not what ended the run."""
        if ending is None or ending.kind == "completed":
            return "success"
        of_run = self.current is not None and not self.current.step_id
        return "success" if of_run and self.failed else "failed"

    def _begin(self, phase: Phase) -> Marker:
        self.current = phase
        return Marker(phase, phase.began)

    def _end(self, result: Result, at: datetime) -> Iterator[Marker]:
        if self.current is None:
            return
        if result == "failed":
            self.failed = self.failed or self.current.name
        yield Marker(self.current, at, result)
        self.current, self._step = None, None

    def _id_of(self, number: int) -> str:
        known = self.step_ids[number - 1] if number <= len(self.step_ids) else ""
        return known or f"step-{number}"
