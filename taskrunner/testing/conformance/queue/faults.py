"""What every queue does while its service does not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from taskrunner.errors import NotSupported, Unavailable
from taskrunner.model import COMPLETED, Submission
from taskrunner.testing.conformance.queue.harness import LONG, QueueKit, scenario

Call = Callable[[], Awaitable[object]]


class FaultChecks(QueueKit):
    """Every method but `close` raises Unavailable, the same call may be sent again, and nothing is lost meanwhile."""

    @scenario
    async def test_a_queue_that_is_down_is_unavailable(self) -> None:
        names = ["held", "ended", "handed-back", "cancelled", "never-claimed"]
        submitter = await self.submitted(*names)
        queue, other = self.open("alice"), self.open("bob")
        claims = {claim.task_id: claim for claim in [await self.claimed(queue) for _ in names[:3]]}
        held, ended, back = (claims[name] for name in names[:3])
        again: list[Call] = [
            lambda: queue.reclaim(held, lease=LONG),
            lambda: queue.resolve(ended, COMPLETED),
            lambda: queue.release(back, delay=0, reason="not here"),
            lambda: submitter.submit(Submission("new", {})),
            lambda: submitter.cancel("cancelled"),
            lambda: submitter.retry("held"),
            lambda: submitter.status("held"),
            lambda: anext(submitter.watch("held")),
        ]
        if not await self.is_down():
            return
        pushed = [queue.notices] if queue.capabilities.cancel == "pushed" else []
        for call in [lambda: queue.claim(1, lease=LONG, wait=0), *pushed, *again]:
            await _assert_unavailable(call)
        for optional in (submitter.pending, lambda: anext(submitter.list())):
            with suppress(NotSupported):
                await _assert_unavailable(optional)
        with suppress(Unavailable):  # best effort
            await queue.append_log(held, 0, b"a line\n")
        await other.close()
        await self.bring_back()
        for call in again:
            await call()  # the outcome of the first call is unknown
        assert await queue.resolve(held, COMPLETED) == "applied"
        ends = {name: (await submitter.status(name)).state for name in [*names, "new"]}
        assert ends == {
            "held": "resolved", "ended": "resolved", "handed-back": "pending", "cancelled": "resolved",
            "never-claimed": "pending", "new": "pending",
        }  # fmt: skip


async def _assert_unavailable(call: Call) -> None:
    try:
        answer = await call()
    except Unavailable:
        return
    pytest.fail(f"a queue that is down answered {answer!r}; a call has to raise Unavailable")


__all__ = ["FaultChecks"]
