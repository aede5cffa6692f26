"""What happens in a ledger by itself: leases end, delays are over, deadlines pass.

Nobody runs a clockwork for it. Whoever looks at the book next does what is overdue; whoever waits knows by `next_due`
when there will be something to do.
"""

from __future__ import annotations

from taskrunner.model import exception
from taskrunner.queues.ledger.database import Ledger
from taskrunner.queues.ledger.runs import end_run, end_task, make_pending, settle

MOST_AT_ONCE = 500
"""Rows of each kind in one transaction, so that a thousand dead workers hold up the living for milliseconds only."""

EXPIRED = exception("claim-expired", "the worker did not renew its claim in time: it died, or lost its connection")
DEADLINE = exception("deadline-exceeded", "no worker took the task before its deadline")

_EXPIRED = "SELECT seq, run_id FROM task WHERE state = 'running' AND due <= ? ORDER BY due LIMIT ?"
_DELAYED = "SELECT seq FROM task WHERE state = 'delayed' AND due <= ? ORDER BY due LIMIT ?"
_SCHEDULED = "SELECT seq FROM task WHERE state = 'scheduled' AND due <= ? ORDER BY due LIMIT ?"
_LATE = """
SELECT seq FROM task
WHERE state IN ('scheduled', 'delayed', 'ready') AND deadline IS NOT NULL AND deadline <= ? ORDER BY deadline LIMIT ?
"""


def overdue(ledger: Ledger) -> bool:
    """Whether a sweep would find anything."""
    booted, wall = ledger.clock(), ledger.wall()
    looks = ((_EXPIRED, booted), (_DELAYED, booted), (_SCHEDULED, wall), (_LATE, wall))
    return any(ledger.db.execute(query, (now, 1)).fetchone() for query, now in looks)


def sweep(ledger: Ledger) -> None:
    """Does what is overdue, inside a write transaction."""
    _expire(ledger)
    for query, now in ((_DELAYED, ledger.clock()), (_SCHEDULED, ledger.wall())):
        for task in ledger.db.execute(query, (now, MOST_AT_ONCE)).fetchall():
            make_pending(ledger, task["seq"], delay=0)
    for task in ledger.db.execute(_LATE, (ledger.wall(), MOST_AT_ONCE)).fetchall():
        end_task(ledger, task["seq"], DEADLINE)


def settle_overdue(ledger: Ledger) -> None:
    """A sweep in a transaction of its own, when there is anything to do."""
    if overdue(ledger):
        with ledger.write(durable=False):
            sweep(ledger)


def next_due(ledger: Ledger) -> float | None:
    """Seconds until something is overdue; None: never by itself."""
    booted, wall = ledger.clock(), ledger.wall()
    moments = (
        (_first(ledger, "running", "due"), booted),
        (_first(ledger, "delayed", "due"), booted),
        (_first(ledger, "scheduled", "due"), wall),
    )
    waits = [max(0.0, moment - now) for moment, now in moments if moment is not None]
    return min(waits, default=None)


def free_all(ledger: Ledger) -> None:
    """After a reboot: nobody who held a run is alive, and readings of the boot clock mean nothing any more."""
    _expire(ledger, everyone=True)
    for task in ledger.db.execute("SELECT seq FROM task WHERE state = 'delayed'").fetchall():
        make_pending(ledger, task["seq"], delay=0)


def _expire(ledger: Ledger, *, everyone: bool = False) -> None:
    now, most = (float("inf"), -1) if everyone else (ledger.clock(), MOST_AT_ONCE)
    for task in ledger.db.execute(_EXPIRED, (now, most)).fetchall():
        end_run(ledger, task["seq"], task["run_id"], "expiry", EXPIRED)
        settle(ledger, task["seq"], EXPIRED)


def _first(ledger: Ledger, state: str, column: str) -> float | None:
    query = f"SELECT min({column}) FROM task WHERE state = '{state}'"  # noqa: S608  both are literals of this file
    moment: float | None = ledger.db.execute(query).fetchone()[0]
    return moment
