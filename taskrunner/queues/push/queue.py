"""A queue of runs that peers dispatch to us: `claim(n)` is n credits, and an offer without credit is refused.

The lease is the connection. While a peer listens, the run is ours without any renewal; when it hangs up, the claim is
lost; when it cancels, the run is lost too, but is still answered.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from taskrunner.errors import Bug, ClaimLost, MalformedPayload, Unavailable
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.push import Credits, Offer, PushSource
from taskrunner.interfaces.queue import Applied, Capabilities, Queue
from taskrunner.model import Claim, Notice, Resolution, exception
from taskrunner.queues.push.run import Pushed, RunIds
from taskrunner.queues.submission import check_submission
from taskrunner.queues.wakeup import NoticeBoard

Credit = asyncio.Future[Pushed]
"""One slot that waits for a run."""

KEPT = 1000
"""Runs that were answered, of which we still know how, in case that they are answered again."""


class PushQueue(Queue, Credits):
    """A Queue of what a PushSource offers. The source is served from the first `claim` until `close`."""

    capabilities = Capabilities(priorities=False, max_release_delay=0.0, answers_cancel=True)

    def __init__(self, source: PushSource, worker_id: str = "push") -> None:
        self.worker_id = worker_id
        self._source = source
        self._serving: asyncio.Task[None] | None = None
        self._credits: list[Credit] = []
        self._resources: dict[str, Pushed] = {}
        self._over: OrderedDict[str, Pushed] = OrderedDict()
        self._run_ids = RunIds()
        self._board = NoticeBoard()
        self._asides: set[asyncio.Task[None]] = set()

    # ---- for the source ---------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        return sum(not credit.done() for credit in self._credits)

    def offer(self, offer: Offer) -> bool:
        """Also False for a task that we run already, and for what is no submission at all."""
        credit = next((credit for credit in self._credits if not credit.done()), None)
        if credit is None or self._of_task(offer.submission.task_id):
            return False
        with suppress(MalformedPayload):
            check_submission(offer.submission)
            credit.set_result(self._accept(offer))
        return credit.done()

    def gone(self, task_id: str, *, canceled: bool, why: str) -> None:
        if run := self._of_task(task_id):
            run.lost = "canceled" if canceled else "disconnected"
            self._board.post(Notice("cancel", task_id, why))
            self._settle(run)

    def _accept(self, offer: Offer) -> Pushed:
        task_id = offer.submission.task_id
        run_id, token = self._run_ids.next(task_id), secrets.token_hex(16)
        claim = Claim(task_id, run_id, offer.submission.document, self.worker_id, token)
        run = self._resources[token] = Pushed(claim, offer.peer)
        return run

    def _of_task(self, task_id: str) -> Pushed | None:
        return next((run for run in self._resources.values() if run.claim.task_id == task_id and run.open), None)

    # ---- for the worker ---------------------------------------------------------------------------------

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:  # noqa: ARG002  see below
        """`lease` says nothing here: a run is ours while its peer listens."""
        if n < 1:
            raise Bug(f"claim({n}): at least one")
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while True:
            runs = await self._take(min(n, self.capabilities.max_claim), end - loop.time())
            for run in runs:
                if run.lost:
                    self._decline(run)
            claims = [run.claim for run in runs if not run.lost]
            if claims or loop.time() >= end:
                return claims

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:  # noqa: ARG002  the connection is the lease
        self._find(claim).check()
        return claim

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        run = self._find(claim)
        try:
            return await run.answer(resolution)
        finally:
            self._settle(run)

    async def release(self, claim: Claim, *, delay: float, reason: str) -> float:  # noqa: ARG002  no peer waits
        run = self._find(claim)
        try:
            await run.refuse(reason)
        finally:
            self._settle(run)
        return 0.0

    def notices(self) -> AsyncIterator[Notice]:
        return self._board.listen()

    async def append_log(self, claim: Claim, offset: int, chunk: bytes) -> None:
        run = self._resources.get(claim.token)
        if run and run.open:
            run.log.add(offset, chunk)

    def artifacts(self, claim: Claim) -> ArtifactStore | None:
        run = self._resources.get(claim.token)
        return run.peer.artifacts() if run else None

    async def close(self) -> None:
        tasks = {task for task in (self._serving, *self._asides) if task}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- credits ----------------------------------------------------------------------------------------

    async def _take(self, n: int, wait: float) -> Sequence[Pushed]:
        """What was offered while `n` credits were out."""
        credits_ = [Credit() for _ in range(n)]
        self._credits += credits_
        try:
            serving = self._serve()
            ends: set[asyncio.Future[Any]] = {serving, *credits_}
            await asyncio.wait(ends, timeout=max(wait, 0), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            for credit in credits_:
                if credit.done():
                    self._decline(credit.result())
            raise
        finally:
            self._credits = [credit for credit in self._credits if credit not in credits_]
        runs = [credit.result() for credit in credits_ if credit.done()]
        if serving.done() and not runs:
            raise self._ended(serving)
        return runs

    def _serve(self) -> asyncio.Task[None]:
        if self._serving is None:
            self._serving = asyncio.create_task(self._source.serve(self))
        return self._serving

    def _ended(self, serving: asyncio.Task[None]) -> BaseException:
        """Why the source serves no more; the next claim starts it again."""
        self._serving = None
        error = None if serving.cancelled() else serving.exception()
        return error or Unavailable("the source of runs has ended")

    def _decline(self, run: Pushed) -> None:
        """Nobody has taken the run: its peer is told, beside everything else."""
        if run.lost == "canceled":
            self._aside(self.resolve(run.claim, exception("canceled", "canceled before it began")))
        elif not run.lost:
            self._aside(self.release(run.claim, delay=0, reason="the worker stopped waiting for runs"))

    def _aside(self, telling: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(_quietly(telling))
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    # ---- runs -------------------------------------------------------------------------------------------

    def _find(self, claim: Claim) -> Pushed:
        run = self._resources.get(claim.token) or self._over.get(claim.token)
        if run is None:
            raise ClaimLost("disconnected")  # of a worker before this one: its connections died with it
        return run

    def _settle(self, run: Pushed) -> None:
        """Keeps a run that is over for a while, to know the answer if it is given again."""
        if run.open or self._resources.pop(run.claim.token, None) is None:
            return
        self._over[run.claim.token] = run
        if len(self._over) > KEPT:
            self._over.popitem(last=False)


async def _quietly(telling: Coroutine[Any, Any, object]) -> None:
    with suppress(ClaimLost, Unavailable):
        await telling
