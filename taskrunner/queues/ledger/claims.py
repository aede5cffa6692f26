"""What a worker does in a ledger: claim, reclaim, resolve, release.

A claim is held while its run has not ended. An overdue claim that is not expired yet can still be renewed or resolved:
the run was granted to no other worker, and the work is not wasted.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Sequence
from datetime import timedelta

import attrs

from taskrunner.amounts import Room
from taskrunner.errors import Bug, ClaimLost, Conflict, Lost
from taskrunner.interfaces.queue import Applied
from taskrunner.model import Claim, Resolution, exception
from taskrunner.queues.ledger.database import Ledger, utc_now
from taskrunner.queues.ledger.expiry import expire, next_due, overdue
from taskrunner.queues.ledger.fitting import next_fitting
from taskrunner.queues.ledger.records import resolution_of
from taskrunner.queues.ledger.runs import end_run, make_pending, retry_or_end


@attrs.frozen
class Holder:
    """The worker that claims, and its home, where the files of its runs are; empty when it has none."""

    worker_id: str
    home: str = ""


@attrs.frozen
class Grant:
    """The claims that a worker got, or when it should try again."""

    claims: Sequence[Claim]
    next_due: float | None = None
    """Seconds until a lease or a delay ends, when no claim was granted; None: no lease and no delay runs."""


def claim(ledger: Ledger, n: int, holder: Holder, *, lease: float, only: str = "", room: Room | None = None) -> Grant:
    """Up to `n` runs, by priority and then in the order of submission; with `only`, none but that task's; with `room`,
    none for which there is no room. `valid_until` is left to the caller."""
    if not _anything_ready(ledger) and not overdue(ledger):  # reading is cheap; the lock is not, with many waiters
        return Grant((), next_due(ledger))
    with ledger.write(durable=False):
        if overdue(ledger):
            expire(ledger)
        ready = _next_ready(ledger, n, only) if room is None else next_fitting(ledger, n, only, room)
        granted = [_grant(ledger, task, holder, lease) for task in ready]
    return Grant(granted, None if granted else next_due(ledger))


def reclaim(ledger: Ledger, held: Claim, *, lease: float) -> Claim:
    """The same claim with `lease` seconds from now.

    Raises: ClaimLost.
    """
    check_seconds(lease, "lease")
    with ledger.write(durable=False):
        run = _find(ledger, held)
        _check_held(run)
        ledger.db.execute("UPDATE task SET due = ? WHERE seq = ?", (ledger.clock() + lease, run["seq"]))
    return attrs.evolve(held, taken_until=utc_now() + timedelta(seconds=lease))


def resolve(ledger: Ledger, held: Claim, resolution: Resolution) -> Applied:
    """Ends the run.

    Raises: ClaimLost, Conflict.
    """
    with ledger.write(durable=True):
        run = _find(ledger, held)
        if run["ended_by"] == "holder":
            return _repeated(run, resolution)
        _check_held(run)
        end_run(ledger, run["seq"], run["run_id"], "holder", resolution)
        retry_or_end(ledger, run["seq"], resolution)
    return "applied"


def release(ledger: Ledger, held: Claim, *, delay: float, reason: str, message: str = "") -> float:
    """Makes the task pending again after `delay` seconds, and uses no retry.

    Raises: ClaimLost.
    """
    check_seconds(delay, "delay")
    with ledger.write(durable=False):
        run = _find(ledger, held)
        if run["ended_by"] == "release":
            return delay
        _check_held(run)
        why = ": ".join(filter(None, ("released by the worker, which costs the task no retry", message)))
        ending = exception(reason or "released", why)
        end_run(ledger, run["seq"], run["run_id"], "release", ending)
        make_pending(ledger, run["seq"], delay=delay)
    return delay


MAX_SECONDS = 10 * 365 * 86400.0
"""Seconds: longer than any lease, and short enough for a calendar to hold its end."""


def check_seconds(value: float, name: str) -> None:
    """Raises Bug for what is no length of time: the caller would never notice otherwise."""
    if not 0 <= value <= MAX_SECONDS:  # NaN neither
        raise Bug(f"{name} is {value}: not a number of seconds up to ten years")


# ---- granting -------------------------------------------------------------------------------------------


def _anything_ready(ledger: Ledger) -> bool:
    return bool(ledger.db.execute("SELECT EXISTS (SELECT 1 FROM task WHERE state = 'ready')").fetchone()[0])


def _next_ready(ledger: Ledger, n: int, only: str) -> list[sqlite3.Row]:
    query = "SELECT seq, id, document, run_id FROM task WHERE state = 'ready' ORDER BY priority DESC, seq LIMIT ?"
    if only:
        query = "SELECT seq, id, document, run_id FROM task WHERE state = 'ready' AND id = ? LIMIT ?"
    return ledger.db.execute(query, (only, n) if only else (n,)).fetchall()


def _grant(ledger: Ledger, task: sqlite3.Row, holder: Holder, lease: float) -> Claim:
    run_id, token = task["run_id"] + 1, secrets.token_hex(16)
    ledger.db.execute(
        "UPDATE task SET state = 'running', due = ?, run_id = ? WHERE seq = ?",
        (ledger.clock() + lease, run_id, task["seq"]),
    )
    ledger.db.execute(
        "INSERT INTO run (seq, run_id, worker_id, home, token, started) VALUES (?, ?, ?, ?, ?, ?)",
        (task["seq"], run_id, holder.worker_id, holder.home, token, ledger.wall()),
    )
    ledger.changes.status = True
    until = utc_now() + timedelta(seconds=lease)
    return Claim(task["id"], run_id, json.loads(task["document"]), holder.worker_id, token, taken_until=until)


# ---- who holds a run ------------------------------------------------------------------------------------

_RUN = """
SELECT run.*, task.run_id AS last_run_id FROM run JOIN task USING (seq)
WHERE task.id = ? AND run.run_id = ? AND run.token = ?
"""


def _find(ledger: Ledger, held: Claim) -> sqlite3.Row:
    """The run that was once granted by this claim."""
    run: sqlite3.Row | None = ledger.db.execute(_RUN, (held.task_id, held.run_id, held.token)).fetchone()
    if run is None:
        raise ClaimLost("superseded", "the run belongs to another claim, if the queue knows it at all")
    return run


def _check_held(run: sqlite3.Row) -> None:
    if run["ended_by"] is not None:
        ending = resolution_of(run)
        raise ClaimLost(_why_lost(run), ending.message if ending else "")


def _why_lost(run: sqlite3.Row) -> Lost:
    if run["ended_by"] == "cancel":
        return "canceled"
    if run["last_run_id"] > run["run_id"]:
        return "superseded"
    return "expired" if run["ended_by"] == "expiry" else "resolved"


def _repeated(run: sqlite3.Row, resolution: Resolution) -> Applied:
    before = resolution_of(run)
    if before is not None and before.same_ending(resolution):
        return "already-so"
    raise Conflict(f"the run was resolved as {before} before, and not as {resolution}")
