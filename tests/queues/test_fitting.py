"""A task that does not fit is overtaken for a while, and not for ever."""

from __future__ import annotations

import asyncio

import pytest

from taskrunner.amounts import Amounts, Room
from taskrunner.interfaces.queue import Slots
from taskrunner.model import Document, Health, Submission
from taskrunner.queues.ledger import fitting
from taskrunner.queues.memory import MemoryQueue
from taskrunner.testing import clock

TOTAL = Amounts(cpus=4)


def slots(free: float) -> Slots:
    return Slots(8, 8, Health(fit=True), room=Room(TOTAL, Amounts(), {"cpus": free}))


async def claimed(queue: MemoryQueue, free: float, n: int = 8) -> list[str]:
    queue.offer_slots(slots(free))
    return [claim.task_id for claim in await queue.claim(n, lease=60, wait=0)]


async def submit(queue: MemoryQueue, task_id: str, resources: Document | str, priority: int = 0) -> None:
    await queue.submit(Submission(task_id, {"id": task_id, "resources": resources}, priority=priority))


def test_small_tasks_overtake_a_large_one_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        queue = MemoryQueue("w1")
        await submit(queue, "large", {"cpus": 4})
        await submit(queue, "small1", {"cpus": 1})
        await submit(queue, "small2", {"cpus": 1})
        await submit(queue, "urgent", {"cpus": 1}, priority=5)
        assert await claimed(queue, free=2, n=1) == ["urgent"]
        assert await claimed(queue, free=1) == ["small1"]
        monkeypatch.setattr(fitting, "PATIENCE", -1.0)  # as if it had waited for as long
        assert await claimed(queue, free=2) == []
        await submit(queue, "urgent2", {"cpus": 1}, priority=5)
        assert await claimed(queue, free=2) == ["urgent2"]
        assert await claimed(queue, free=4) == ["large"]
        assert await claimed(queue, free=1) == ["small2"]

    clock.run(scene())


def test_what_never_fits_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        queue = MemoryQueue("w1")
        await submit(queue, "never", {"cpus": 5})
        await submit(queue, "malformed", {"cpus": "many"})
        await submit(queue, "text", "many")
        await submit(queue, "small", {"cpus": 1})
        assert await claimed(queue, free=1) == ["never", "malformed", "text", "small"]

    monkeypatch.setattr(fitting, "PATIENCE", -1.0)
    clock.run(scene())


def test_one_task_alone_is_looked_at_when_it_alone_is_wanted() -> None:
    async def scene() -> None:
        queue = MemoryQueue("w1")
        await submit(queue, "other", {"cpus": 1})
        await submit(queue, "mine", {"cpus": 2})
        queue.claim_only("mine")
        assert await claimed(queue, free=1) == []
        assert await claimed(queue, free=2) == ["mine"]

    asyncio.run(scene())
