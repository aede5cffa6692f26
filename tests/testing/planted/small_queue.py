"""A queue in memory, written from the documentation alone."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from taskrunner import (
    Capabilities,
    Claim,
    ClaimLost,
    Complaint,
    Conflict,
    MalformedPayload,
    Notice,
    Queue,
    Resolution,
    Submission,
    Submitter,
    TaskStatus,
    Unavailable,
    UnknownTask,
)
from taskrunner.interfaces.queue import Applied
from taskrunner.limits import ID_PATTERN, MAX_DOCUMENT, MAX_PRIORITY, MAX_RETRIES, MIN_PRIORITY
from taskrunner.model import RETRIED, RunKey, RunStatus, TaskState, exception
from taskrunner.testing import QueueConformance, clock
from tests.testing.planted.planting import Bugs


@attrs.define(eq=False)
class Run:
    """One run, and who holds it."""

    run_id: int
    worker_id: str
    token: str
    lease_end: float
    started: datetime
    resolved: datetime | None = None
    resolution: Resolution | None = None
    ended_by: str = ""

    def status(self) -> RunStatus:
        return RunStatus(self.run_id, self.worker_id, self.started, self.resolved, self.resolution)


@attrs.define(eq=False)
class Entry:
    """A task and its runs."""

    submission: Submission
    number: int
    submitted: datetime
    retries_left: int
    state: TaskState = "pending"
    ready_at: float = 0
    runs: list[Run] = attrs.field(factory=list)
    resolution: Resolution | None = None

    @property
    def last_run(self) -> int:
        return self.runs[-1].run_id if self.runs else -1


@attrs.define(eq=False)
class Board:
    """What all workers and submitters share."""

    tasks: dict[str, Entry] = attrs.field(factory=dict)
    waiters: set[asyncio.Event] = attrs.field(factory=set)
    subscribers: list[tuple[str, asyncio.Queue[Notice]]] = attrs.field(factory=list)
    logs: dict[RunKey, bytearray] = attrs.field(factory=dict)
    is_down: bool = False


class SmallQueue(Queue, Submitter):
    capabilities = Capabilities()

    def __init__(self, board: Board, worker_id: str) -> None:
        self.board, self.worker_id = board, worker_id
        self.only = ""

    # ---- time and waiting -------------------------------------------------------------------------------

    def reach(self) -> None:
        if self.board.is_down:
            raise Unavailable("the queue is down")

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    def wake(self, cause: str) -> None:
        for event in self.board.waiters:
            event.set()

    async def changed(self, limit: float) -> None:
        event = asyncio.Event()
        self.board.waiters.add(event)
        try:
            async with asyncio.timeout(limit):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self.board.waiters.discard(event)

    def next_due(self) -> float:
        """Seconds until a lease, a delay or a `not_before` ends."""
        moments = [run.lease_end - self.now() for task in self.board.tasks.values() for run in task.runs[-1:]]
        moments += [task.ready_at - self.now() for task in self.board.tasks.values()]
        begins = [task.submission.not_before for task in self.board.tasks.values()]
        moments += [(begin - datetime.now(UTC)).total_seconds() for begin in begins if begin]
        return min((moment for moment in moments if moment > 0), default=1e6) + 0.001

    # ---- for workers ------------------------------------------------------------------------------------

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        end = self.now() + wait
        while True:
            self.reach()
            claims = self.grant(min(n, self.capabilities.max_claim), lease)
            if claims or self.now() >= end:
                return claims
            await self.changed(min(self.next_due(), end - self.now()))

    def grant(self, n: int, lease: float) -> list[Claim]:
        self.expire()
        return [self.grant_one(task, lease) for task in self.ordered(self.ready())[:n]]

    def ready(self) -> list[Entry]:
        return [task for task in self.board.tasks.values() if task.state == "pending" and self.is_ready(task)]

    def is_ready(self, task: Entry) -> bool:
        begin = task.submission.not_before
        may = not self.only or task.submission.task_id == self.only
        return may and task.ready_at <= self.now() and (begin is None or begin <= datetime.now(UTC))

    def ordered(self, tasks: list[Entry]) -> list[Entry]:
        return sorted(tasks, key=lambda task: (-task.submission.priority, task.number))

    def grant_one(self, task: Entry, lease: float) -> Claim:
        run = Run(self.next_run_id(task), self.worker_id, self.token(task), self.now() + lease, datetime.now(UTC))
        task.runs.append(run)
        task.state = "running"
        self.wake("grant")
        return self.to_claim(task, run, lease)

    def next_run_id(self, task: Entry) -> int:
        return task.last_run + 1

    def token(self, task: Entry) -> str:
        return secrets.token_hex(8)

    def to_claim(self, task: Entry, run: Run, lease: float) -> Claim:
        return Claim(
            task.submission.task_id, run.run_id, self.document(task), run.worker_id, run.token,
            taken_until=datetime.now(UTC) + timedelta(seconds=lease), valid_until=self.now() + lease,
        )  # fmt: skip

    def document(self, task: Entry) -> Any:
        return json.loads(json.dumps(task.submission.document))

    def claim_only(self, task_id: str) -> None:
        self.only = task_id

    def find(self, claim: Claim) -> tuple[Entry, Run]:
        task = self.board.tasks[claim.task_id]
        for run in task.runs:
            if self.is_run_of(run, claim):
                return task, run
        raise ClaimLost("superseded")

    def is_run_of(self, run: Run, claim: Claim) -> bool:
        return (run.run_id, run.token) == (claim.run_id, claim.token)

    def check_held(self, task: Entry, run: Run) -> None:
        if run.ended_by == "cancel":
            raise ClaimLost("canceled")
        if run.ended_by:
            raise ClaimLost("superseded" if run is not task.runs[-1] else self.why(run))

    def why(self, run: Run) -> Any:
        return "expired" if run.ended_by == "expiry" else "resolved"

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        self.reach()
        task, run = self.find(claim)
        self.check_held(task, run)
        self.extend(run, lease)
        return self.to_claim(task, run, lease)

    def extend(self, run: Run, lease: float) -> None:
        run.lease_end = self.now() + lease

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        self.reach()
        task, run = self.find(claim)
        if run.ended_by == "holder" and run.resolution:
            return self.repeated(run.resolution, resolution)
        self.check_held(task, run)
        self.end(task, run, "holder", resolution)
        self.retry_or_resolve(task, resolution)
        return "applied"

    def repeated(self, before: Resolution, resolution: Resolution) -> Applied:
        if before.same_ending(resolution):
            return "already-so"
        raise Conflict(f"the run was resolved as {before}")

    def end(self, task: Entry, run: Run, ended_by: str, resolution: Resolution) -> None:
        run.resolved, run.resolution, run.ended_by = datetime.now(UTC), self.kept(resolution), ended_by
        self.wake(ended_by)

    def kept(self, resolution: Resolution) -> Resolution:
        return resolution

    def retry_or_resolve(self, task: Entry, resolution: Resolution) -> None:
        if self.is_retried(task, resolution):
            task.retries_left -= 1
            self.make_pending(task, 0)
        else:
            task.state, task.resolution = "resolved", self.kept(resolution)

    def is_retried(self, task: Entry, resolution: Resolution) -> bool:
        return resolution.kind == "exception" and resolution.reason in RETRIED and task.retries_left > 0

    def make_pending(self, task: Entry, delay: float) -> None:
        task.state, task.ready_at, task.resolution = "pending", self.now() + delay if delay else 0, None
        self.wake("pending")

    async def release(self, claim: Claim, *, delay: float, reason: str) -> float:
        self.reach()
        task, run = self.find(claim)
        if run.ended_by == "release":
            return delay
        self.check_held(task, run)
        self.end(task, run, "release", exception(reason, "released"))
        self.make_pending(task, delay)
        return delay

    def expire(self) -> None:
        for task in self.board.tasks.values():
            deadline = task.submission.deadline
            if task.state == "pending" and deadline and deadline <= datetime.now(UTC):
                task.state, task.resolution = "resolved", exception("deadline-exceeded", "nobody claimed it")
            elif task.state == "running" and self.is_expired(task.runs[-1]):
                lost = exception("claim-expired", "its worker is gone")
                self.end(task, task.runs[-1], "expiry", lost)
                self.retry_or_resolve(task, lost)

    def is_expired(self, run: Run) -> bool:
        return run.lease_end <= self.now()

    async def notices(self) -> AsyncIterator[Notice]:
        self.reach()
        return self.subscribe()

    def subscribe(self) -> AsyncIterator[Notice]:
        queue: asyncio.Queue[Notice] = asyncio.Queue()
        self.board.subscribers.append((self.worker_id, queue))
        return self.subscribed(queue)

    async def subscribed(self, queue: asyncio.Queue[Notice]) -> AsyncIterator[Notice]:
        while True:
            yield await queue.get()

    def publish(self, worker_id: str, notice: Notice) -> None:
        for subscriber, queue in self.board.subscribers:
            if subscriber == worker_id:
                queue.put_nowait(notice)

    async def append_log(self, claim: Claim, offset: int, chunk: bytes) -> None:
        self.reach()
        self.board.logs.setdefault(claim.run, bytearray())[offset:] = chunk
        self.wake("log")

    async def close(self) -> None:
        pass

    # ---- for submitters ---------------------------------------------------------------------------------

    async def submit(self, submission: Submission) -> bool:
        self.reach()
        self.check(submission)
        known = self.board.tasks.get(submission.task_id)
        if known is None:
            self.add(submission)
            return True
        if self.is_same(known.submission, submission):
            return False
        raise Conflict(f"{submission.task_id} is another document")

    def add(self, submission: Submission) -> None:
        number, retries = len(self.board.tasks), submission.retries
        self.board.tasks[submission.task_id] = Entry(submission, number, datetime.now(UTC), retries)
        self.wake("submit")

    def check(self, submission: Submission) -> None:
        if not re.fullmatch(ID_PATTERN, submission.task_id):
            raise MalformedPayload(Complaint("id", "is no id"))
        if not MIN_PRIORITY <= submission.priority <= MAX_PRIORITY:
            raise MalformedPayload(Complaint("priority", "is out of bounds"))
        if not 0 <= submission.retries <= MAX_RETRIES:
            raise MalformedPayload(Complaint("retries", "is out of bounds"))
        if len(json.dumps(submission.document)) > MAX_DOCUMENT:
            raise MalformedPayload(Complaint("", f"is larger than {MAX_DOCUMENT} bytes"))

    def is_same(self, one: Submission, other: Submission) -> bool:
        return one.document == other.document

    async def task(self, task_id: str) -> Entry:
        self.reach()
        self.expire()
        if task_id not in self.board.tasks:
            raise UnknownTask(task_id)
        return self.board.tasks[task_id]

    async def cancel(self, task_id: str, message: str = "") -> bool:
        task = await self.task(task_id)
        if task.state == "resolved":
            return False
        canceled = exception("canceled", message)
        if task.state == "running":
            self.end(task, task.runs[-1], "cancel", canceled)
            self.publish(task.runs[-1].worker_id, Notice("cancel", task_id, message))
        task.state, task.resolution = "resolved", canceled
        self.wake("cancel")
        return True

    async def retry(self, task_id: str) -> bool:
        task = await self.task(task_id)
        if task.state != "resolved":
            return False
        task.retries_left = task.submission.retries
        self.make_pending(task, 0)
        return True

    async def status(self, task_id: str) -> TaskStatus:
        return self.status_of(await self.task(task_id))

    def status_of(self, task: Entry) -> TaskStatus:
        runs = tuple(run.status() for run in task.runs)
        return TaskStatus(
            task.submission.task_id, task.state, task.submission, task.submitted, runs, task.resolution
        )  # fmt: skip

    async def watch(self, task_id: str) -> AsyncIterator[TaskStatus]:
        last = None
        while last is None or last.state != "resolved":
            status = await self.status(task_id)
            if status != last:
                yield status
                last = status
                continue
            await self.changed(self.next_due())

    async def pending(self) -> int:
        self.reach()
        self.expire()
        return sum(task.state == "pending" and self.has_begun(task) for task in self.board.tasks.values())

    def has_begun(self, task: Entry) -> bool:
        return task.submission.not_before is None or task.submission.not_before <= datetime.now(UTC)

    async def list(self, *, limit: int = 100) -> AsyncIterator[TaskStatus]:
        self.reach()
        self.expire()
        for task in self.newest()[:limit]:
            yield self.status_of(task)

    def newest(self) -> Sequence[Entry]:
        return sorted(self.board.tasks.values(), key=lambda task: -task.number)

    async def matching(self, prefix: str, *, limit: int = 10) -> Sequence[str]:
        self.reach()
        found = sorted(task_id for task_id in self.board.tasks if self.begins(task_id, prefix))
        return found[:limit]

    def begins(self, task_id: str, prefix: str) -> bool:
        return bool(prefix) and task_id.startswith(prefix)

    async def forget(self, before: datetime, *, dry_run: bool = False) -> int:
        self.reach()
        over = [task_id for task_id, task in self.board.tasks.items() if self.is_over(task, before)]
        for task_id in over if not dry_run else ():
            del self.board.tasks[task_id]
        return len(over)

    def is_over(self, task: Entry, before: datetime) -> bool:
        return task.state == "resolved" and max((run.resolved or before for run in task.runs), default=before) < before

    async def watch_log(
        self, task_id: str, run_id: int, offset: int = 0, *, follow: bool = True
    ) -> AsyncIterator[bytes]:
        while True:
            task = await self.task(task_id)
            log = self.board.logs.get(RunKey(task_id, run_id), bytearray())
            if chunk := bytes(log[offset:]):
                offset += len(chunk)
                yield chunk
            elif not follow or self.log_has_ended(task, run_id):
                return
            else:
                await self.changed(self.next_due())

    def log_has_ended(self, task: Entry, run_id: int) -> bool:
        return any(run.run_id == run_id and run.ended_by for run in task.runs)


class SmallQueueTests(QueueConformance):
    plug: ClassVar[type[SmallQueue]] = SmallQueue

    @pytest.fixture(autouse=True)
    def _begin(self, tmp_path: Path) -> None:
        self.begin(tmp_path)

    def begin(self, folder: Path) -> None:
        self.board = Board()

    def end(self) -> None:
        pass

    def worker(self, worker_id: str) -> SmallQueue:
        return self.plug(self.board, worker_id)

    def submitter(self) -> SmallQueue:
        return self.plug(self.board, "")

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        clock.run(main)

    async def take_down(self) -> None:
        self.board.is_down = True

    async def bring_back(self) -> None:
        self.board.is_down = False


QUEUES = Bugs(SmallQueueTests, virtual=True)
