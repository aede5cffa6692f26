"""What a submitter does in a ledger: submit, cancel, retry, status, list."""

from __future__ import annotations

import sqlite3

from taskrunner.errors import Conflict, UnknownTask
from taskrunner.model import Submission, TaskStatus, exception
from taskrunner.queues.ledger.database import Canceled, Ledger
from taskrunner.queues.ledger.expiry import expire_overdue
from taskrunner.queues.ledger.records import seconds, task_status
from taskrunner.queues.ledger.retention import forgotten_before
from taskrunner.queues.ledger.runs import end_run, end_task, make_pending
from taskrunner.queues.submission import is_task_id


def submit(ledger: Ledger, submission: Submission, document: str) -> bool:
    """Inserts a task whose document is this canonical text. False: it is known, with the same document.

    Raises: Conflict.
    """
    with ledger.write(durable=True):
        known = ledger.db.execute("SELECT document FROM task WHERE id = ?", (submission.task_id,)).fetchone()
        if known is None:
            _insert(ledger, submission, document)
        elif known["document"] != document:
            raise Conflict(f"the task {submission.task_id} is known with another document: give this one another id")
    return known is None


def pending(ledger: Ledger) -> int:
    """How many tasks wait to be claimed, including those that wait for a delay."""
    expire_overdue(ledger)
    query = (
        "SELECT (SELECT count(*) FROM task WHERE state = 'ready') + (SELECT count(*) FROM task WHERE state = 'delayed')"
    )
    count: int = ledger.db.execute(query).fetchone()[0]
    return count


def cancel(ledger: Ledger, task_id: str, message: str) -> bool:
    """Ends a task now, pending or running. False: it had ended.

    Raises: UnknownTask.
    """
    with ledger.write(durable=True):
        task = _find(ledger, task_id)
        if task["state"] == "resolved":
            return False
        ending = exception("canceled", message or "canceled by a submitter")
        if task["state"] == "running":
            _cancel_run(ledger, task, message)
            end_run(ledger, task["seq"], task["run_id"], "cancel", ending)
        end_task(ledger, task["seq"], ending)
    return True


def retry(ledger: Ledger, task_id: str) -> bool:
    """Makes a task that has ended pending again, with all its retries. False: it has not ended.

    Raises: UnknownTask.
    """
    with ledger.write(durable=True):
        task = _find(ledger, task_id)
        if task["state"] != "resolved":
            return False
        ledger.db.execute("UPDATE task SET retries_left = retries WHERE seq = ?", (task["seq"],))
        make_pending(ledger, task["seq"], delay=0)
    return True


def status(ledger: Ledger, task_id: str) -> TaskStatus:
    """Raises: UnknownTask."""
    expire_overdue(ledger)
    return _status(ledger, _find(ledger, task_id))


def matching(ledger: Ledger, prefix: str, most: int) -> list[str]:
    """The ids that begin so, by their index. Ids have no character that GLOB would take for a pattern."""
    if not is_task_id(prefix):
        return []
    rows = ledger.db.execute("SELECT id FROM task WHERE id GLOB ? ORDER BY id LIMIT ?", (f"{prefix}*", most))
    return [row["id"] for row in rows]


def newest(ledger: Ledger, before: int | None, most: int) -> tuple[list[TaskStatus], int | None]:
    """A page of the newest tasks, and where the next page begins (to be given as `before`); None: there is none."""
    expire_overdue(ledger)
    query = "SELECT * FROM task WHERE ? IS NULL OR seq < ? ORDER BY seq DESC LIMIT ?"
    tasks = ledger.db.execute(query, (before, before, most)).fetchall()
    return [_status(ledger, task) for task in tasks], tasks[-1]["seq"] if tasks else None


def _insert(ledger: Ledger, submission: Submission, document: str) -> None:
    now, not_before = ledger.wall(), seconds(submission.not_before)
    later = not_before is not None and not_before > now
    ledger.db.execute(
        "INSERT INTO task (id, document, priority, retries, retries_left, not_before, deadline, submitted, state, due) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            submission.task_id,
            document,
            submission.priority,
            submission.retries,
            submission.retries,
            not_before,
            seconds(submission.deadline),
            now,
            "scheduled" if later else "ready",
            not_before if later else None,
        ),
    )
    ledger.changes.work = ledger.changes.status = True


def _cancel_run(ledger: Ledger, task: sqlite3.Row, message: str) -> None:
    key = (task["seq"], task["run_id"])
    run = ledger.db.execute("SELECT worker_id FROM run WHERE seq = ? AND run_id = ?", key).fetchone()
    ledger.changes.canceled.append(Canceled(run["worker_id"], task["id"], message))


def _find(ledger: Ledger, task_id: str) -> sqlite3.Row:
    query = "SELECT * FROM task WHERE id = ?"
    task: sqlite3.Row | None = ledger.db.execute(query, (task_id,)).fetchone() if is_task_id(task_id) else None
    if task is None:
        before = forgotten_before(ledger)
        removed = f"; those that ended before {before:%Y-%m-%d %H:%M} UTC were removed" if before else ""
        raise UnknownTask(f"there is no task {task_id!r}{removed}")
    return task


def _status(ledger: Ledger, task: sqlite3.Row) -> TaskStatus:
    runs = ledger.db.execute("SELECT * FROM run WHERE seq = ? ORDER BY run_id", (task["seq"],))
    return task_status(task, runs)
