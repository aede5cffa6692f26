"""A queue in one SQLite file, for all the processes of one machine: the embedded default.

Beside the file stand `<file>.lock`, which makes writers take turns, and `<file>.wake`, the sockets of waiting
processes. The file has to be on a local disk: its processes share memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import quote, unquote, urlsplit

from taskrunner.blocking import DaemonExecutor, OverLimit, run_blocking
from taskrunner.errors import Bug, ConfigError, TaskrunnerError
from taskrunner.interfaces.plugin import NoOptions, QueueContext
from taskrunner.queues.ledger.claims import Grant
from taskrunner.queues.ledger.database import Canceled, Ledger, Topic
from taskrunner.queues.ledger.queue import LedgerQueue, release_grant
from taskrunner.queues.sqlite.boottime import boottime
from taskrunner.queues.sqlite.calls import CALL_LIMIT, LedgerCalls
from taskrunner.queues.sqlite.file import LedgerFile
from taskrunner.queues.sqlite.wakeup_sockets import WakeupReceiver

T = TypeVar("T")

CLOSE_LIMIT = 5.0
"""Seconds for closing the file, including the last call. A thread that hangs is left behind."""


class SqliteQueue(LedgerQueue):
    """The queue in the file `path`, which is made when it is missing (mode 0600, its folder 0700).

    `worker_id` is the holder of claims, `home` where the files of its runs are; a submitter needs neither. Nothing is
    opened before the first call. `clock` counts the seconds of leases for all processes alike; tests pass one that they
    can move.
    """

    def __init__(
        self, path: Path, worker_id: str, *, home: Path | None = None, clock: Callable[[], float] = boottime
    ) -> None:
        super().__init__(worker_id, home)
        self._file = LedgerFile(path, clock)
        self._executor = DaemonExecutor(f"queue {path.name}", size=1)
        self._calls = LedgerCalls(self._file, self._executor)
        self._receivers: dict[Topic, WakeupReceiver] = {
            "work": WakeupReceiver(self._file.wake, "work", self._on_work, self._executor),
            "status": WakeupReceiver(self._file.wake, "status", self._on_status, self._executor),
        }
        self._closed = False

    @classmethod
    async def open(cls, options: NoOptions, context: QueueContext) -> Self:  # noqa: ARG003  there are none
        """The file that the URL names. Opens it, so that a wrong one is told before the first claim."""
        path = _path_of(context.url)
        if not context.may_create:
            await run_blocking(partial(_check_exists, path), limit=CALL_LIMIT, doing="looking for the queue")
        queue = cls(path, context.worker_id, home=context.home)
        try:
            await queue._do(lambda _: None)
        except BaseException:
            await queue.close()
            raise
        return queue

    @property
    def address(self) -> str:
        return f"sqlite://{quote(str(self._file.path))}"

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for receiver in self._receivers.values():
            receiver.close()
        await asyncio.sleep(0)  # a claim that was cancelled just now releases what was granted
        with suppress(OverLimit):
            await run_blocking(self._close_files, limit=CLOSE_LIMIT, doing="closing the queue", executor=self._executor)
        self._executor.shutdown()

    def _close_files(self) -> None:
        for receiver in self._receivers.values():
            receiver.remove()
        self._file.close()

    async def _do(self, operation: Callable[[Ledger], T]) -> T:
        self._check_open()
        return await self._calls.call(operation)

    async def _grant(self, operation: Callable[[Ledger], Grant]) -> Grant:
        self._check_open()
        return await self._calls.call(operation, self._release)

    def _release(self, grant: Grant) -> None:
        """Releases claims whose caller was cancelled, in the file's thread. Otherwise their leases run out."""
        with suppress(TaskrunnerError):
            self._calls.in_turn(lambda ledger: release_grant(ledger, grant))

    def _check_open(self) -> None:
        if self._closed:
            raise Bug("the queue was closed")

    async def _subscribe(self, topic: Topic) -> None:
        self._check_open()
        await self._receivers[topic].open()

    def _on_work(self, canceled: Canceled | None) -> None:
        if canceled is None:
            self._wakeups["work"].wake()
        else:
            self._publish_canceled(canceled)

    def _on_status(self, _: Canceled | None) -> None:
        self._wakeups["status"].wake()


def _path_of(url: str) -> Path:
    """The path in a URL. Raises ConfigError."""
    parts = urlsplit(url)
    if parts.netloc or not parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError("names no file (write sqlite:/// and its full path)")
    return Path(unquote(parts.path))


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise ConfigError(
            f"there is no queue {path}: `taskrunner submit` makes it with the first task; else correct --queue, the "
            "configuration or TASKRUNNER_HOME"
        )
