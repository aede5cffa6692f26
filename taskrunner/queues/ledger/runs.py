"""How a run ends in a ledger, and what follows for its task."""

from __future__ import annotations

from typing import Literal

from taskrunner.model import Resolution
from taskrunner.queues.ledger.database import Ledger
from taskrunner.queues.ledger.records import resolution_text
from taskrunner.queues.ledger.retries import is_retried, retry_delay

EndedBy = Literal["holder", "release", "cancel", "expiry"]


def end_run(ledger: Ledger, seq: int, run_id: int, ended_by: EndedBy, resolution: Resolution) -> None:
    """Ends a run; its claim is no longer valid."""
    ledger.db.execute(
        "UPDATE run SET resolved = ?, ended_by = ?, resolution = ? WHERE seq = ? AND run_id = ?",
        (ledger.wall(), ended_by, resolution_text(resolution), seq, run_id),
    )
    ledger.changes.status = True


def retry_or_end(ledger: Ledger, seq: int, resolution: Resolution) -> None:
    """After a run that ended so, its task is made pending again, or ends too."""
    task = ledger.db.execute("SELECT retries, retries_left FROM task WHERE seq = ?", (seq,)).fetchone()
    if not is_retried(resolution, task["retries_left"]):
        end_task(ledger, seq, resolution)
        return
    ledger.db.execute("UPDATE task SET retries_left = retries_left - 1 WHERE seq = ?", (seq,))
    delay = retry_delay(resolution.reason, spent=task["retries"] - task["retries_left"])
    make_pending(ledger, seq, delay=delay)


def end_task(ledger: Ledger, seq: int, resolution: Resolution) -> None:
    ledger.db.execute(
        "UPDATE task SET state = 'resolved', due = ?, resolution = ? WHERE seq = ?",
        (ledger.wall(), resolution_text(resolution), seq),
    )
    ledger.changes.status = True


def make_pending(ledger: Ledger, seq: int, *, delay: float) -> None:
    """Makes the task ready to be claimed after `delay` seconds."""
    state, due = ("delayed", ledger.clock() + delay) if delay > 0 else ("ready", None)
    ledger.db.execute("UPDATE task SET state = ?, due = ?, resolution = NULL WHERE seq = ?", (state, due, seq))
    ledger.changes.work = ledger.changes.status = True
