"""A queue between a worker and its real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from taskrunner.interfaces.queue import Applied, Queue
from taskrunner.model import Claim, Notice, Resolution


class ForwardingQueue(Queue):
    """Forwards each operation to another queue; a test overrides one of them."""

    def __init__(self, inner: Queue) -> None:
        self.inner = inner
        self.capabilities = inner.capabilities

    async def notices(self) -> AsyncIterator[Notice]:
        return await self.inner.notices()

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        return await self.inner.claim(n, lease=lease, wait=wait)

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        return await self.inner.reclaim(claim, lease=lease)

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        return await self.inner.resolve(claim, resolution)

    async def release(self, claim: Claim, *, delay: float, reason: str, message: str = "") -> float:
        return await self.inner.release(claim, delay=delay, reason=reason, message=message)
