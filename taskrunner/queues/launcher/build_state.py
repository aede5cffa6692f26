"""The states of the one build, as its launcher sees them.

::

    new         ── dispatch ▶ in-progress
    in-progress ── succeed ─▶ success
    in-progress ── fail ────▶ error
    new, in-progress ── abort ▶ aborted

Nothing else is a transition, and such an event is ignored: a second dispatch, an abort that comes too late, the end of
a run that was aborted. So a status that is terminal never changes.
"""

from __future__ import annotations

from typing import Literal

import attrs

Status = Literal["new", "in-progress", "success", "error", "aborted"]
Event = Literal["dispatch", "succeed", "fail", "abort"]
AbortReason = Literal["cancel", "timeout"]

TRANSITIONS: dict[tuple[Status, Event], Status] = {
    ("new", "dispatch"): "in-progress",
    ("in-progress", "succeed"): "success",
    ("in-progress", "fail"): "error",
    ("new", "abort"): "aborted",
    ("in-progress", "abort"): "aborted",
}

TERMINAL: frozenset[Status] = frozenset({"success", "error", "aborted"})


@attrs.frozen
class BuildError:
    """What went wrong, for the owner of the build."""

    code: str
    message: str
    phase: str = ""
    """The phase of the log in which it went wrong; empty when there was none."""


@attrs.frozen
class BuildState:
    """The status, and what belongs to it."""

    status: Status = "new"
    application_archive: str | None = None
    """The name of the artifact; None when there is none."""
    build_artifacts: str | None = None
    error: BuildError | None = None
    internal_error: str = ""
    """The code of an error that is not the owner's; empty for none."""
    abort_reason: AbortReason | Literal[""] = ""

    @property
    def over(self) -> bool:
        return self.status in TERMINAL

    def after(self, event: Event, **more: object) -> BuildState:
        """The state after an event, with what belongs to it. The same one when the event is no transition."""
        target = TRANSITIONS.get((self.status, event))
        return self if target is None else attrs.evolve(self, status=target, **more)  # type: ignore[arg-type]
