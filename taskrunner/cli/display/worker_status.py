"""WorkerStatus: what the live displays show of a worker."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import attrs

from taskrunner.cli.display.text import COLOURS
from taskrunner.log.reader import last_line
from taskrunner.model import Progress


@attrs.define
class RunRow:
    """One run that is not over."""

    run: str
    slot: int
    log: Path
    name: str = ""
    state: str = "claimed"
    progress: Progress | None = None
    began: float = attrs.field(factory=time.monotonic)
    vacated: bool = False
    """Whether its slot is free: what is left of it is being removed."""

    @property
    def took(self) -> float:
        return time.monotonic() - self.began

    def newest(self) -> str:
        """The last line of its log, from the newest part of the overflow if there is one."""
        parts = sorted(self.log.parent.glob(f"{self.log.name}.tail-*"), key=lambda part: int(part.name.split("-")[-1]))
        return next(filter(None, map(last_line, [*reversed(parts), self.log])), "")


@attrs.define
class WorkerStatus:
    """A worker and its runs at one moment."""

    queue: str = ""
    capacity: int = 1
    state: str = "booting"
    pause: str = ""
    stop_reason: str = ""
    """Why it stops; empty while it does not."""
    hands_back: bool = False
    """Whether it stops at once."""
    rows: dict[str, RunRow] = attrs.field(factory=dict)
    ended: Counter[str] = attrs.field(factory=Counter)

    @property
    def busy(self) -> int:
        """Number of slots that are taken."""
        return sum(not row.vacated for row in self.rows.values())

    def notice(self) -> str:
        """What the operator at the terminal should know now; often nothing."""
        runs = f"{len(self.rows)} run{'s' * (len(self.rows) != 1)}"
        signalled = self.stop_reason.startswith("SIG")  # else Ctrl-C has not been pressed yet
        if self.hands_back:
            return f"handing back {runs}; Ctrl-C {'again' if signalled else 'three times'} kills this worker"
        if self.stop_reason:
            them = "it" if len(self.rows) == 1 else "them"
            return f"{self.stop_reason}: finishing {runs}; Ctrl-C {'again' if signalled else 'twice'} hands {them} back"
        return f"paused: {self.pause}" if self.pause else ""

    def summary(self) -> str:
        """How many runs ended in which way."""
        return ", ".join(f"{self.ended[kind]} {kind}" for kind in COLOURS)
