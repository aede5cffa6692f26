"""Removing tasks that ended long ago, a page at a time, so that no claim waits for more than a page.

The file of a database does not get smaller by that: later tasks take the room.
"""

from __future__ import annotations

from datetime import UTC, datetime

from taskrunner.queues.ledger.database import Ledger

PAGE = 200
"""Tasks in one transaction: some milliseconds."""

_ENDED = "SELECT seq FROM task WHERE state = 'resolved' AND due < ?"


def count_ended(ledger: Ledger, before: datetime) -> int:
    """How many tasks ended before this time."""
    count: int = ledger.db.execute(f"SELECT count(*) FROM ({_ENDED})", (before.timestamp(),)).fetchone()[0]  # noqa: S608  a literal
    return count


def forget_page(ledger: Ledger, before: datetime) -> int:
    """Removes some of the tasks that ended before this time, with their runs. Returns how many; 0: none is left."""
    ended = (f"{_ENDED} ORDER BY seq LIMIT {PAGE}", (before.timestamp(),))
    if not ledger.db.execute(*ended).fetchone():  # reading is cheap; the lock is not
        return 0
    with ledger.write(durable=False):
        found = [(task["seq"],) for task in ledger.db.execute(*ended).fetchall()]
        ledger.db.executemany("DELETE FROM run WHERE seq = ?", found)
        ledger.db.executemany("DELETE FROM task WHERE seq = ?", found)
        last = forgotten_before(ledger)
        ledger.db.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('forgotten', ?)",
            ((max(last, before) if last else before).astimezone(UTC).isoformat(),),
        )
    return len(found)


def forgotten_before(ledger: Ledger) -> datetime | None:
    """Tasks that ended before this time may have been removed; None: none was."""
    row = ledger.db.execute("SELECT value FROM meta WHERE key = 'forgotten'").fetchone()
    return datetime.fromisoformat(row["value"]) if row else None
