"""What time does to a ledger: leases end, delays pass, deadlines pass.

No timer runs for it. The next reader of the database expires what is overdue, and a waiting claim sleeps until
`next_due`.
"""

from __future__ import annotations

from taskrunner.model import exception
from taskrunner.queues.ledger.database import Ledger
from taskrunner.queues.ledger.runs import end_run, end_task, make_pending, retry_or_end

MAX_ROWS = 500
"""Rows of each kind in one transaction: a thousand dead workers delay the others for milliseconds only."""

EXPIRED = exception("claim-expired", "the worker did not renew its claim in time: it died, or lost its connection")
DEADLINE = exception("deadline-exceeded", "no worker took the task before its deadline")

_EXPIRED = "SELECT seq, run_id FROM task WHERE state = 'running' AND due <= ? ORDER BY due LIMIT ?"
_DELAYED = "SELECT seq FROM task WHERE state = 'delayed' AND due <= ? ORDER BY due LIMIT ?"
_SCHEDULED = "SELECT seq FROM task WHERE state = 'scheduled' AND due <= ? ORDER BY due LIMIT ?"
_LATE = """
SELECT seq FROM task
WHERE state IN ('scheduled', 'delayed', 'ready') AND deadline IS NOT NULL AND deadline <= ? ORDER BY deadline LIMIT ?
"""

_OVERDUE = "SELECT " + " OR ".join(f"EXISTS ({query})" for query in (_EXPIRED, _DELAYED, _SCHEDULED, _LATE))
"""One statement, since each claim asks."""


def overdue(ledger: Ledger) -> bool:
    """Whether `expire` would change anything."""
    booted, wall = ledger.clock(), ledger.wall()
    return bool(ledger.db.execute(_OVERDUE, (booted, 1, booted, 1, wall, 1, wall, 1)).fetchone()[0])


def expire(ledger: Ledger) -> None:
    """Expires what is overdue, inside a write transaction."""
    _expire_claims(ledger)
    for query, now in ((_DELAYED, ledger.clock()), (_SCHEDULED, ledger.wall())):
        for task in ledger.db.execute(query, (now, MAX_ROWS)).fetchall():
            make_pending(ledger, task["seq"], delay=0)
    for task in ledger.db.execute(_LATE, (ledger.wall(), MAX_ROWS)).fetchall():
        end_task(ledger, task["seq"], DEADLINE)


def expire_overdue(ledger: Ledger) -> None:
    """Expires in a transaction of its own, when anything is overdue."""
    if overdue(ledger):
        with ledger.write(durable=False):
            expire(ledger)


def next_due(ledger: Ledger) -> float | None:
    """Seconds until anything is overdue; None: never."""
    booted, wall = ledger.clock(), ledger.wall()
    moments = (
        (_first(ledger, "running", "due"), booted),
        (_first(ledger, "delayed", "due"), booted),
        (_first(ledger, "scheduled", "due"), wall),
    )
    waits = [max(0.0, moment - now) for moment, now in moments if moment is not None]
    return min(waits, default=None)


def expire_all(ledger: Ledger) -> None:
    """After a reboot: every holder of a run is dead, and older readings of the boot clock are meaningless."""
    _expire_claims(ledger, everyone=True)
    for task in ledger.db.execute("SELECT seq FROM task WHERE state = 'delayed'").fetchall():
        make_pending(ledger, task["seq"], delay=0)


def _expire_claims(ledger: Ledger, *, everyone: bool = False) -> None:
    now, most = (float("inf"), -1) if everyone else (ledger.clock(), MAX_ROWS)
    for task in ledger.db.execute(_EXPIRED, (now, most)).fetchall():
        end_run(ledger, task["seq"], task["run_id"], "expiry", EXPIRED)
        retry_or_end(ledger, task["seq"], EXPIRED)


def _first(ledger: Ledger, state: str, column: str) -> float | None:
    query = f"SELECT min({column}) FROM task WHERE state = '{state}'"  # noqa: S608  both are literals of this file
    moment: float | None = ledger.db.execute(query).fetchone()[0]
    return moment
