"""Observer: sees what a worker does, as it does it. For a terminal, a stream of JSON lines, a test."""

from __future__ import annotations

import attrs

from taskrunner.machines.chart import Move
from taskrunner.model import Claim, Progress, Resolution


@attrs.frozen
class RunView:
    """A run as an observer may see it."""

    claim: Claim
    slot: int
    """0 to capacity - 1; taken again by a later run."""
    name: str = ""
    """What its author calls it."""


class Observer:
    """All that can be seen; each method does nothing until it is overridden.

    Called from the event loop, so it returns at once. `progress` may come from any thread. None of them may raise.
    """

    def worker_moved(self, move: Move, why: str) -> None:
        """The worker took an event. `why` is what began a pause or a shutdown."""

    def started(self, run: RunView) -> None:
        """A run was claimed, and has a slot."""

    def moved(self, run: RunView, move: Move) -> None:
        """A run took an event, moving or staying."""

    def progress(self, run: RunView, progress: Progress) -> None:
        """One step of a run got further."""

    def ended(self, run: RunView, resolution: Resolution) -> None:
        """A run is over, its slot is free."""

    def warn(self, text: str) -> None:
        """Something that an operator should know: a leak, a queue that does not answer, a sick machine."""
