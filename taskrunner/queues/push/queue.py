"""A queue of runs that peers dispatch to us: `claim(n)` is n credits, and an offer without credit is refused.

The lease is the connection. A run is ours without renewal while its peer is connected; a disconnect loses the claim.
A cancellation by the peer loses the claim too, but the run is still answered.
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
from taskrunner.queues.notices import NoticeBroadcast
from taskrunner.queues.push.pushed_run import PushedRun, RunIds
from taskrunner.queues.submission import check_submission

Credit = asyncio.Future[PushedRun]
"""One slot that waits for a run."""

MAX_FINISHED = 1000
"""Answered runs whose answer is remembered, in case it is sent again."""


class PushQueue(Queue, Credits):
    """A Queue of what a PushSource offers. The source is served from the first `claim` until `close`."""

    capabilities = Capabilities(priorities=False, max_release_delay=0.0, answers_cancel=True)

    def __init__(self, source: PushSource, worker_id: str = "push") -> None:
        self.worker_id = worker_id
        self._source = source
        self._serving: asyncio.Task[None] | None = None
        self._credits: list[Credit] = []
        self._running: dict[str, PushedRun] = {}
        self._finished: OrderedDict[str, PushedRun] = OrderedDict()
        self._run_ids = RunIds()
        self._notices = NoticeBroadcast()
        self._background: set[asyncio.Task[None]] = set()

    # ---- for the source ---------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        return sum(not credit.done() for credit in self._credits)

    def offer(self, offer: Offer) -> bool:
        """Also False for a task that runs already, and for a malformed submission."""
        credit = next((credit for credit in self._credits if not credit.done()), None)
        if credit is None or self._of_task(offer.submission.task_id):
            return False
        with suppress(MalformedPayload):
            check_submission(offer.submission)
            credit.set_result(self._accept(offer))
        return credit.done()

    def withdraw(self, task_id: str, *, canceled: bool, why: str) -> None:
        if run := self._of_task(task_id):
            run.lost = "canceled" if canceled else "disconnected"
            self._notices.publish(Notice("cancel", task_id, why))
            self._retire(run)

    def _accept(self, offer: Offer) -> PushedRun:
        task_id = offer.submission.task_id
        run_id, token = self._run_ids.next(task_id), secrets.token_hex(16)
        claim = Claim(task_id, run_id, offer.submission.document, self.worker_id, token)
        run = self._running[token] = PushedRun(claim, offer.peer)
        return run

    def _of_task(self, task_id: str) -> PushedRun | None:
        return next((run for run in self._running.values() if run.claim.task_id == task_id and run.open), None)

    # ---- for the worker ---------------------------------------------------------------------------------

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:  # noqa: ARG002  see below
        """`lease` has no effect: a run is ours while its peer is connected."""
        if n < 1:
            raise Bug(f"claim({n}): at least one")
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while True:
            runs = await self._take(min(n, self.capabilities.max_claim), end - loop.time())
            for run in runs:
                if run.lost:
                    self._hand_back(run)
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
            self._retire(run)

    async def release(self, claim: Claim, *, delay: float, reason: str) -> float:  # noqa: ARG002  no peer waits
        run = self._find(claim)
        try:
            await run.refuse(reason)
        finally:
            self._retire(run)
        return 0.0

    def notices(self) -> AsyncIterator[Notice]:
        return self._notices.subscribe()

    async def append_log(self, claim: Claim, offset: int, chunk: bytes) -> None:
        run = self._running.get(claim.token)
        if run and run.open:
            run.log.add(offset, chunk)

    def artifacts(self, claim: Claim) -> ArtifactStore | None:
        run = self._running.get(claim.token)
        return run.peer.artifacts() if run else None

    async def close(self) -> None:
        tasks = {task for task in (self._serving, *self._background) if task}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- credits ----------------------------------------------------------------------------------------

    async def _take(self, n: int, wait: float) -> Sequence[PushedRun]:
        """What was offered while `n` credits were open."""
        credits_ = [Credit() for _ in range(n)]
        self._credits += credits_
        try:
            serving = self._serve()
            awaited: set[asyncio.Future[Any]] = {serving, *credits_}
            await asyncio.wait(awaited, timeout=max(wait, 0), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            for credit in credits_:
                if credit.done():
                    self._hand_back(credit.result())
            raise
        finally:
            self._credits = [credit for credit in self._credits if credit not in credits_]
        runs = [credit.result() for credit in credits_ if credit.done()]
        if serving.done() and not runs:
            raise self._source_error(serving)
        return runs

    def _serve(self) -> asyncio.Task[None]:
        if self._serving is None:
            self._serving = asyncio.create_task(self._source.serve(self))
        return self._serving

    def _source_error(self, serving: asyncio.Task[None]) -> BaseException:
        """Why the source has stopped; the next claim starts it again."""
        self._serving = None
        error = None if serving.cancelled() else serving.exception()
        return error or Unavailable("the source of runs has ended")

    def _hand_back(self, run: PushedRun) -> None:
        """Answers or refuses a run that no caller has taken, in the background."""
        if run.lost == "canceled":
            self._in_background(self.resolve(run.claim, exception("canceled", "canceled before it began")))
        elif not run.lost:
            self._in_background(self.release(run.claim, delay=0, reason="the worker stopped waiting for runs"))

    def _in_background(self, call: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(_best_effort(call))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # ---- runs -------------------------------------------------------------------------------------------

    def _find(self, claim: Claim) -> PushedRun:
        run = self._running.get(claim.token) or self._finished.get(claim.token)
        if run is None:
            raise ClaimLost("disconnected")  # of an earlier worker: its connections ended with it
        return run

    def _retire(self, run: PushedRun) -> None:
        """Remembers a run that is over for a while: its answer may be sent again."""
        if run.open or self._running.pop(run.claim.token, None) is None:
            return
        self._finished[run.claim.token] = run
        if len(self._finished) > MAX_FINISHED:
            self._finished.popitem(last=False)


async def _best_effort(call: Coroutine[Any, Any, object]) -> None:
    with suppress(ClaimLost, Unavailable):
        await call
