"""The book in which a queue keeps its tasks: an SQLite database, its clocks, and what a write transaction is.

Who holds a run is what the book says: each verb (`claims`, `tasks`, `sweep`) is one transaction, and a claim counts for
as long as its token stands in a run that has not ended. The book is used from one thread.
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

Wish = Literal["work", "status"]
"""What somebody who waits wants to hear of."""


@attrs.frozen
class Canceled:
    """A run that was cancelled under its holder."""

    worker_id: str
    task_id: str
    message: str


@attrs.define
class News:
    """What a transaction changed for others; they are told after it was committed."""

    work: bool = False
    """Something became ready to be claimed, or will be sooner than known before."""
    status: bool = False
    """Some task has another status."""
    canceled: list[Canceled] = attrs.field(factory=list)


def utc_now() -> datetime:
    return datetime.now(UTC)


def _tell_nobody(_: News) -> None:
    """For a ledger that nobody else reads."""


@attrs.define
class Ledger:
    """An open book.

    `clock` counts the seconds of leases and delays; `lock` keeps other processes from writing meanwhile; `tell` is
    called with the news of each transaction, after it was committed and the lock was given up.
    """

    db: sqlite3.Connection
    clock: Callable[[], float]
    lock: Callable[[], AbstractContextManager[object]] = nullcontext
    tell: Callable[[News], None] = _tell_nobody
    _news: News | None = None
    _durable: bool | None = None

    @classmethod
    def over(cls, db: sqlite3.Connection, clock: Callable[[], float], name: str) -> Ledger:
        """The book in a connection (of `isolation_level=None`); its tables are made when there are none.

        Raises: ConfigError.
        """
        db.row_factory = sqlite3.Row
        prepare(db, name)
        return cls(db, clock)

    @property
    def news(self) -> News:
        if self._news is None:
            raise Bug("news come from a write transaction")
        return self._news

    def wall(self) -> float:
        """The time of day, in seconds since 1970: for people, `not_before` and `deadline`; never for leases."""
        return utc_now().timestamp()

    @contextmanager
    def write(self, *, durable: bool) -> Iterator[None]:
        """A transaction that is committed at the end, or undone by an exception.

        `durable` ones survive a power cut. The others may be lost in one (the book stays whole): a grant or a renewal
        that is forgotten lets the task run again, which is always allowed; a submission or a resolution is a promise.
        """
        self._news = news = News()
        try:
            with self.lock():
                self._set_durable(durable)
                with self._transaction():
                    yield
        finally:
            self._news = None
        if news != News():
            self.tell(news)

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
