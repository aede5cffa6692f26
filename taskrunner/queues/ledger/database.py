"""The database in which a queue keeps its tasks, its clocks, and what a write transaction is.

The database decides who holds a run: each operation (`claims`, `tasks`, `expiry`) is one transaction, and a claim is
valid while its token stands in a run that has not ended. One thread at a time uses the database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Literal

import attrs

from taskrunner.errors import Bug
from taskrunner.queues.ledger.tables import prepare

Topic = Literal["work", "status"]
"""What a process waits for: a run to claim, or another status of a task."""


@attrs.frozen
class Canceled:
    """A run that was cancelled under its holder."""

    worker_id: str
    task_id: str
    message: str


@attrs.define
class Changes:
    """What a transaction changed for others. Published after the commit."""

    work: bool = False
    """A task became ready to be claimed, or will be earlier than it was known."""
    status: bool = False
    """A task has another status."""
    canceled: list[Canceled] = attrs.field(factory=list)


def utc_now() -> datetime:
    return datetime.now(UTC)


def _publish_nothing(_: Changes) -> None:
    """For a database without other readers."""


@attrs.define
class Ledger:
    """An open database of tasks.

    `clock` counts the seconds of leases and delays. `lock` excludes the writers of other processes. `publish` is called
    with the changes of each transaction, after the commit and outside of the lock.
    """

    db: sqlite3.Connection
    clock: Callable[[], float]
    lock: Callable[[], AbstractContextManager[object]] = nullcontext
    publish: Callable[[Changes], None] = _publish_nothing
    _changes: Changes | None = None
    _durable: bool | None = None

    @classmethod
    def open(cls, db: sqlite3.Connection, clock: Callable[[], float], name: str) -> Ledger:
        """The ledger of a connection (of `isolation_level=None`). Missing tables are made; errors call it `name`.

        Raises: ConfigError.
        """
        db.row_factory = sqlite3.Row
        prepare(db, name)
        return cls(db, clock)

    @property
    def changes(self) -> Changes:
        """Of the current write transaction. Raises Bug outside of one."""
        if self._changes is None:
            raise Bug("changes belong to a write transaction")
        return self._changes

    def wall(self) -> float:
        """The time of day, in seconds since 1970: for people, `not_before` and `deadline`; never for leases."""
        return utc_now().timestamp()

    @contextmanager
    def write(self, *, durable: bool) -> Iterator[None]:
        """A transaction that is committed at the end, or rolled back by an exception.

        A `durable` transaction survives a power cut. Others may be lost in one, and the database stays consistent: a
        lost grant or renewal lets the task run again, which is always allowed; a submission or a resolution is a
        promise.
        """
        self._changes = changes = Changes()
        try:
            with self.lock():
                self._set_durable(durable)
                with self._transaction():
                    yield
        finally:
            self._changes = None
        if changes != Changes():
            self.publish(changes)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    def _set_durable(self, durable: bool) -> None:
        if durable != self._durable:
            self.db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
