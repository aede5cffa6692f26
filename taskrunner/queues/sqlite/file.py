"""A ledger in a file that many processes write: opening it, locking it, and what its errors mean.

SQLite's own write lock starves processes: with 8 of them, one waited for 8.2 s. A `flock` on a file beside the database
is first come, first served: 40 ms at most, at the same throughput.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from taskrunner.errors import ConfigError, TaskrunnerError, Unavailable, WorkerBroken
from taskrunner.files.identity import identity
from taskrunner.queues.ledger.database import Ledger
from taskrunner.queues.ledger.expiry import expire_all
from taskrunner.queues.sqlite.boottime import boot_id
from taskrunner.queues.sqlite.reserve import DiskReserve
from taskrunner.queues.sqlite.wakeup_sockets import WakeupSender

T = TypeVar("T")

BUSY_TIMEOUT = 5.0
"""Seconds that SQLite waits for a process that writes without our lock, such as a `sqlite3` shell."""

SQLITE_HEAD = b"SQLite format 3\0"
"""The first bytes of each database: https://www.sqlite.org/fileformat.html. An empty file is a database, too."""

NO_DATABASE = "{} is no database: name another file for the queue"

OPERATOR_ERRORS = {
    errno.EACCES,
    errno.EPERM,
    errno.EEXIST,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}
"""What the operator has to correct; any other error of the system may pass."""


class LockedByAnother(Exception):
    """An operation that was not to wait found the file locked. It changed nothing."""


class LedgerFile:
    """Opens the ledger at the first operation. Used from one thread at a time, but for `wake`."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.path = path.absolute()
        self.wake = self.path.with_name(f"{path.name}.wake")
        self._reserve = DiskReserve(self.path.with_name(f"{path.name}.reserve"))
        self._clock = clock
        self._identity: tuple[int, int] | None = None
        self._lock_file = -1
        self._ledger: Ledger | None = None
        self._sender: WakeupSender | None = None
        self._waits = True
        """Whether operations wait for the locks of other processes."""

    def perform(self, operation: Callable[[Ledger], T], *, wait: bool = True) -> T:
        """`wait`: whether it may wait for the locks of other processes.

        Raises: ConfigError, WorkerBroken, Unavailable, LockedByAnother, and what the operation raises.
        """
        try:
            self._set_wait(wait)
            return self._perform(operation)
        except (sqlite3.Error, OSError) as error:
            if not wait and _is_locked(error):
                raise LockedByAnother from None
            if not self._reserve.spend():
                raise self._problem_of(error) from error
        try:
            return self._perform(operation)
        except (sqlite3.Error, OSError) as error:
            raise self._problem_of(error) from error

    def _perform(self, operation: Callable[[Ledger], T]) -> T:
        if self._ledger is None:
            self._ledger = self._open()
        elif identity(self.path) != self._identity:
            raise Unavailable(
                f"{self.path} was removed or replaced while it was in use, and nothing is written to it any more: stop "
                "this worker, and start it with the file that is right"
            )
        return operation(self._ledger)

    def _set_wait(self, wait: bool) -> None:
        if wait != self._waits and self._ledger is not None:
            self._ledger.db.execute(f"PRAGMA busy_timeout = {round(1000 * BUSY_TIMEOUT) if wait else 0}")
            self._waits = wait

    def close(self) -> None:
        """Raises nothing."""
        if self._ledger is not None:
            with suppress(sqlite3.Error):
                self._ledger.db.close()
        if self._sender is not None:
            self._sender.close()
        if self._lock_file >= 0:
            os.close(self._lock_file)

    # ---- opening ----------------------------------------------------------------------------------------

    def _open(self) -> Ledger:
        _check_is_database(self.path)
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._lock_file < 0:
            self._lock_file = _private_file(self.path.with_name(f"{self.path.name}.lock"))
        with self._locked():
            os.close(_private_file(self.path))  # SQLite would make it with the mode that the umask leaves
            # An idle thread of the executor ends, and the next one goes on with the connection.
            db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            try:
                ledger = Ledger.open(db, self._clock, str(self.path))
                _detect_reboot(ledger)
            except BaseException:
                db.close()
                raise
        self._identity = identity(self.path)
        self._reserve.make()
        self._sender = self._sender or WakeupSender(self.wake)
        ledger.lock, ledger.publish = self._locked, self._sender.publish
        return ledger

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock_file, fcntl.LOCK_EX | (0 if self._waits else fcntl.LOCK_NB))
        try:
            yield
        finally:
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    # ---- what errors mean -------------------------------------------------------------------------------

    def _problem_of(self, error: sqlite3.Error | OSError) -> TaskrunnerError:
        return self._sqlite_error(error) if isinstance(error, sqlite3.Error) else self._system_error(error)

    def _sqlite_error(self, error: sqlite3.Error) -> TaskrunnerError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits are details
        if code == sqlite3.SQLITE_NOTADB:
            return ConfigError(NO_DATABASE.format(self.path))
        if code == sqlite3.SQLITE_CORRUPT:
            return WorkerBroken(
                f"{self.path} is damaged ({error}): stop all workers, then save what can be read with "
                f"`sqlite3 {self.path.name} .recover | sqlite3 recovered.db` and put that in its place, or a backup"
            )
        if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
            return ConfigError(f"{self.path} cannot be opened for writing ({error}): check its owner and its mode")
        return Unavailable(f"{self.path} does not answer: {error}")

    def _system_error(self, error: OSError) -> TaskrunnerError:
        what = error.strerror or type(error).__name__
        if error.errno in OPERATOR_ERRORS:
            return ConfigError(f"{self.path} cannot be opened: {what}: check the path, its owner and its mode")
        return Unavailable(f"{self.path} does not answer: {what}")


def _is_locked(error: sqlite3.Error | OSError) -> bool:
    busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    return busy or isinstance(error, BlockingIOError)


def _check_is_database(path: Path) -> None:
    """Before anything is made beside the file: a lock of our own beside /etc/passwd would lock out `useradd`.

    Raises: ConfigError, OSError.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would block
    except FileNotFoundError:
        return
    try:
        head = os.read(file, len(SQLITE_HEAD))
    finally:
        os.close(file)
    if head and head != SQLITE_HEAD:
        raise ConfigError(NO_DATABASE.format(path))


def _private_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _detect_reboot(ledger: Ledger) -> None:
    """Expires every claim from before the machine was booted."""
    query = "SELECT value FROM meta WHERE key = 'boot'"
    if (row := ledger.db.execute(query).fetchone()) and row["value"] == boot_id():
        return
    with ledger.write(durable=True):
        expire_all(ledger)
        ledger.db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('boot', ?)", (boot_id(),))
