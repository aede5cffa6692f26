"""How far the steps of the runs of this process are: the newest state of each, for those who follow them."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from taskrunner.model import Progress, RunKey

MOST_STEPS = 100
"""Of one run. The names come from the engine."""

MOST_RUNS = 1000
"""The newest ones that have told a progress."""


@attrs.define
class ProgressBoard:
    """Used from one event loop. A change has a number, so that a follower asks for what is newer."""

    _changes: int = 0
    _steps: dict[RunKey, dict[str, tuple[int, Progress]]] = attrs.field(factory=dict)

    def set(self, run: RunKey, progress: Progress) -> None:
        steps = self._steps.setdefault(run, {})
        if progress.step in steps or len(steps) < MOST_STEPS:
            self._changes += 1
            steps[progress.step] = self._changes, progress
        if len(self._steps) > MOST_RUNS:
            del self._steps[next(iter(self._steps))]

    def newer(self, task_id: str, than: int) -> Iterator[tuple[int, RunKey, Progress]]:
        """The states of the steps of a task that came after a change, in their order."""
        runs = [(run, steps) for run, steps in self._steps.items() if run.task_id == task_id]
        found = [(number, run, progress) for run, steps in runs for number, progress in steps.values() if number > than]
        yield from sorted(found, key=lambda each: each[0])
