"""Observer: is called for each event of a worker. For a terminal, a stream of JSON lines, a test."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from taskrunner.machines.chart import Move
from taskrunner.model import Claim, Progress, Resolution


@attrs.frozen
class WorkerView:
    """A worker as an observer may see it."""

    worker_id: str
    capacity: int
    queue: str = ""
    """Its URL without passwords; empty for one that a program gave."""
    identity: Mapping[str, str] = attrs.field(factory=dict)
    """The labels of the machine: `Host.identity`."""


@attrs.frozen
class RunView:
    """A run as an observer may see it."""

    claim: Claim
    slot: int
    """0 to capacity - 1; taken again by a later run."""
    name: str = ""
    """The task's name, given by its author."""


class Observer:
    """The events of a worker and its runs; each method does nothing until it is overridden.

    Called from the event loop, so each returns at once. `progress` may be called from any thread. None may raise.
    """

    def opened(self, worker: WorkerView) -> None:
        """The queue and the store are open, and the worker is about to start."""

    def worker_moved(self, move: Move, why: str) -> None:
        """The worker took an event. `why` is the cause of a pause or a shutdown."""

    def started(self, run: RunView) -> None:
        """A run was claimed, and has a slot."""

    def moved(self, run: RunView, move: Move) -> None:
        """A run took an event, moving or staying."""

    def progress(self, run: RunView, progress: Progress) -> None:
        """One step of a run made progress."""

    def ended(self, run: RunView, resolution: Resolution) -> None:
        """A run has ended, and its slot is free."""

    def warn(self, text: str) -> None:
        """A warning for the operator: a leak, a queue that does not answer, an unfit machine."""
