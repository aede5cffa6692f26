"""TaskclusterQueue with live logs: while a run goes on, the artifact of its log refers to the worker.

A log that cannot be served says so to the operator, and fails no task.
"""

from __future__ import annotations

from taskrunner.errors import Bug, ClaimLost
from taskrunner.interfaces.log import LogOrigin
from taskrunner.interfaces.plugin import QueueContext
from taskrunner.interfaces.queue import Applied
from taskrunner.model import Claim, Move, Resolution
from taskrunner.queues.listening import open_listener
from taskrunner.queues.taskcluster.live_log import LiveLogServer
from taskrunner.queues.taskcluster.options import TaskclusterOptions
from taskrunner.queues.taskcluster.queue import TaskclusterQueue

PORT = 60098
"""That of docker-worker."""


class LiveTaskclusterQueue(TaskclusterQueue):
    """The worker is told to serve its logs."""

    live: LiveLogServer

    async def start(self, options: TaskclusterOptions, context: QueueContext) -> None:
        await super().start(options, context)
        if options.live_log is None:
            raise Bug("live logs without their options")
        listener = await open_listener(f"log://{options.live_log.address}", options.live_log.listen, context, PORT)
        self.live = LiveLogServer(listener, options.live_log.url, context.home / "taskcluster")
        await self.live.start()

    async def moved(self, claim: Claim, move: Move, ending: Resolution | None) -> None:  # noqa: ARG002  an end has its call
        if not move.source:
            await self.artifacts(lambda: claim).refer_to_log(await self.live.begin(claim.run))

    async def append_log(self, claim: Claim, offset: int, chunk: bytes, origin: LogOrigin | None = None) -> None:  # noqa: ARG002  no reader asks
        await self.live.append(claim.run, offset, chunk)

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        try:
            return await super().reclaim(claim, lease=lease)
        except ClaimLost:
            self.live.end(claim.run)
            raise

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        self.live.end(claim.run)
        return await super().resolve(claim, resolution)

    async def release(self, claim: Claim, *, delay: float, reason: str, message: str = "") -> float:
        self.live.end(claim.run)
        return await super().release(claim, delay=delay, reason=reason, message=message)

    async def close(self) -> None:
        if hasattr(self, "live"):
            await self.live.close()
        await super().close()
