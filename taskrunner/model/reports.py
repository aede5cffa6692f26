"""What runs and machines report while they are at work."""

from __future__ import annotations

import attrs


@attrs.frozen
class Move:
    """The effect of an event on a machine, of a run or a worker."""

    source: str
    """The state before."""
    event: str
    target: str
    """The state after; the same one when the event has not moved the machine."""

    @property
    def moved(self) -> bool:
        return self.source != self.target


@attrs.frozen
class Progress:
    """How far one step of a run is: `clone` 40 of 100 bytes."""

    step: str
    done: float
    total: float | None = None
    unit: str = "B"
    note: str = ""


@attrs.frozen
class Health:
    """Whether a machine, or a part of it, is fit to run tasks."""

    fit: bool
    why: str = ""
    """What is wrong and what to do, when it is not."""
