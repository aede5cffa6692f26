"""A queue of runs that peers dispatch to us: an offer is taken whenever the worker has a free slot for it.

What is free is what the worker has told last (`offer_slots`), less what was taken since. A run waits here for the next
`claim`, which it wakes; when the worker cannot take it any more, since it is unfit or stops, it is refused.

The lease is the connection. A run is ours without renewal while its peer is connected, or its source keeps it for
another peer; a disconnect loses the claim. A cancellation by the peer loses the claim too, but the run is answered.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from taskrunner.errors import Bug, ClaimLost, MalformedPayload, TaskFailedInternally, Unavailable
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.log import LogOrigin
from taskrunner.interfaces.push import Credits, Offer, OfferRefused, Peer, PushSource, Refusal, Taken
from taskrunner.interfaces.queue import Applied, Capabilities, HeldClaim, Queue, Slots
from taskrunner.model import Claim, Document, Health, Move, Notice, Progress, Resolution, RunKey, exception
from taskrunner.queues.notices import NoticeBroadcast
from taskrunner.queues.push.pushed_run import PushedRun
from taskrunner.queues.push.run_ids import RunIds
from taskrunner.queues.submission import check_submission

MAX_FINISHED = 1000
"""Runs that are over and whose answer is remembered, in case it is sent again or another peer asks."""

CLOSE_LIMIT = 10.0
"""Seconds for the last refusals to reach their peers when the queue is closed."""

BOOTING = Slots(0, 0, Health(fit=False, why="the worker is starting"))
"""Until the worker has told what it can take."""


class PushQueue(Queue, Credits):
    """A Queue of what a PushSource offers. The source is served from the end of the worker's booting until `close`.

    With the worker's `home`, run ids never repeat in it; without, they begin at 0 with each worker. `sample` is the
    document of a task like those that the source offers: the worker gets ready for it while it waits.
    """

    capabilities = Capabilities(priorities=False, max_release_delay=0.0, answers_cancel=True)

    def __init__(
        self,
        source: PushSource,
        worker_id: str = "push",
        home: Path | None = None,
        sample: Document | None = None,
    ) -> None:
        self.worker_id = worker_id
        self._source, self._sample = source, sample
        self._serving: asyncio.Task[None] | None = None
        self._slots = BOOTING
        self._waiting: deque[PushedRun] = deque()
        """Taken, and not claimed yet."""
        self._claimed = 0
        """Runs that were claimed since the worker has told its slots."""
        self._arrived = asyncio.Event()
        self._running: dict[RunKey, PushedRun] = {}
        self._finished: OrderedDict[RunKey, PushedRun] = OrderedDict()
        self._run_ids = RunIds(home / "push-run-id" if home else None)
        self._notices = NoticeBroadcast()
        self._background: set[asyncio.Task[None]] = set()

    # ---- for the source ---------------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        return self._slots.capacity

    @property
    def free(self) -> int:
        return self._left if self.fit.fit else 0

    @property
    def busy(self) -> int:
        return self.capacity - self._left

    @property
    def fit(self) -> Health:
        return Health(fit=False, why=self._slots.draining) if self._slots.draining else self._slots.fit

    @property
    def _left(self) -> int:
        return max(0, self._slots.free - self._claimed - len(self._waiting))

    def offer(self, offer: Offer) -> Taken | OfferRefused:
        try:
            check_submission(offer.submission)
        except MalformedPayload as error:
            return OfferRefused("malformed", str(error))
        for reason, why in self._obstacles(offer.submission.task_id):
            return OfferRefused(reason, why)
        try:
            return Taken(self._take(offer).claim.run)
        except TaskFailedInternally as error:
            return OfferRefused("unfit", str(error))

    def withdraw(self, run: RunKey, *, canceled: bool, why: str) -> None:
        pushed = self._running.get(run)
        if not pushed or (canceled and not pushed.open):
            return
        if canceled:
            pushed.cancel(why)
        else:
            pushed.disconnect(why)
        if pushed in self._waiting:
            self._waiting.remove(pushed)
            self._drop(pushed, "canceled", why)
        self._notices.publish(Notice("cancel" if canceled else "reclaim", run.task_id, why))
        self._retire(pushed)

    def detach(self, run: RunKey) -> bool:
        if pushed := self._running.get(run):
            pushed.detach()
        return pushed is not None

    def attach(self, run: RunKey, peer: Peer) -> bool:
        pushed = self._running.get(run) or self._finished.get(run)
        if pushed is None or not (pushed.open or pushed.over):
            return False
        pushed.attach(peer)
        self._in_background(pushed.inform())
        return True

    def drain(self, why: str) -> None:
        self._notices.publish(Notice("drain", message=why))

    def _obstacles(self, task_id: str) -> Iterator[tuple[Refusal, str]]:
        """What stands against taking a run now."""
        if any(run.open for key, run in self._running.items() if key.task_id == task_id):
            yield "known", f"the task {task_id} runs here already"
        if self._slots.draining:
            yield "draining", self._slots.draining
        if not self._slots.fit.fit:
            yield "unfit", self._slots.fit.why
        if not self._left:
            yield "busy", f"all slots of this worker are taken: {self.capacity}"

    def _take(self, offer: Offer) -> PushedRun:
        task_id, token = offer.submission.task_id, secrets.token_hex(16)
        claim = Claim(task_id, self._run_ids.next(), offer.submission.document, self.worker_id, token)
        run = self._running[claim.run] = PushedRun(claim, offer.peer)
        self._waiting.append(run)
        self._arrived.set()
        return run

    # ---- for the worker ---------------------------------------------------------------------------------

    def offer_slots(self, slots: Slots) -> None:
        self._slots, self._claimed = slots, 0
        if slots.draining or not slots.fit.fit:
            while self._waiting:
                self._drop(self._waiting.popleft(), "draining" if slots.draining else "unfit", self.fit.why)
        self._serve()

    def expected_task(self) -> Document | None:
        return self._sample

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:  # noqa: ARG002  see below
        """`lease` has no effect: a run is ours while its peer is connected."""
        if n < 1:
            raise Bug(f"claim({n}): at least one")
        serving = self._serve()
        end = asyncio.get_running_loop().time() + wait
        while not self._waiting and await self._wait_for_offer(serving, end):
            pass
        if serving.done() and not self._waiting:
            raise self._source_error(serving)
        runs = [self._waiting.popleft() for _ in range(min(n, self.capabilities.max_claim, len(self._waiting)))]
        self._claimed += len(runs)
        return [run.claim for run in runs]

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:  # noqa: ARG002  the connection is the lease
        self._find(claim).check()
        return claim

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        run = self._find(claim)
        try:
            return await run.answer(resolution)
        finally:
            self._retire(run)

    async def release(self, claim: Claim, *, delay: float, reason: str, message: str = "") -> float:  # noqa: ARG002  no peer waits
        run = self._find(claim)
        try:
            await run.refuse(reason, message)
        finally:
            self._retire(run)
        return 0.0

    async def notices(self) -> AsyncIterator[Notice]:
        return self._notices.subscribe()

    async def append_log(self, claim: Claim, offset: int, chunk: bytes, origin: LogOrigin | None = None) -> None:
        await self._find(claim).send_log(offset, chunk, origin)

    async def moved(self, claim: Claim, move: Move, ending: Resolution | None) -> None:
        await self._find(claim).moved(move, ending)

    async def progress(self, claim: Claim, progress: Progress) -> None:
        await self._find(claim).progress(progress)

    def artifacts(self, held: HeldClaim) -> ArtifactStore | None:
        run = self._running.get(held().run)
        return run.artifacts() if run and run.claim.token == held().token else None

    async def close(self) -> None:
        if self._background:
            await asyncio.wait(self._background, timeout=CLOSE_LIMIT)
        tasks = {task for task in (self._serving, *self._background) if task}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- offers -----------------------------------------------------------------------------------------

    async def _wait_for_offer(self, serving: asyncio.Task[None], end: float) -> bool:
        """Whether to look again: False when the time is over, or the source has ended."""
        left = end - asyncio.get_running_loop().time()
        if serving.done() or left <= 0:
            return False
        self._arrived.clear()
        arrived = asyncio.ensure_future(self._arrived.wait())
        try:
            await asyncio.wait({serving, arrived}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrived.cancel()
        return True

    def _serve(self) -> asyncio.Task[None]:
        if self._serving is None:
            self._serving = asyncio.create_task(self._source.serve(self), name="the source of runs")
        return self._serving

    def _source_error(self, serving: asyncio.Task[None]) -> BaseException:
        """Why the source has stopped; the next claim starts it again."""
        self._serving = None
        error = None if serving.cancelled() else serving.exception()
        return error or Unavailable("the source of runs has ended")

    def _drop(self, run: PushedRun, reason: str, why: str) -> None:
        """Answers or refuses a run that no claim has taken, in the background."""
        if run.lost and run.lost.why == "canceled":
            self._in_background(self.resolve(run.claim, exception("canceled", f"canceled before it began: {why}")))
        elif not run.lost:
            self._in_background(self.release(run.claim, delay=0, reason=reason, message=why))

    def _in_background(self, call: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(_best_effort(call))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # ---- runs -------------------------------------------------------------------------------------------

    def _find(self, claim: Claim) -> PushedRun:
        run = self._running.get(claim.run) or self._finished.get(claim.run)
        if run is None or run.claim.token != claim.token:
            raise ClaimLost("disconnected", "no peer waits for this run: the connections of a worker end with it")
        return run

    def _retire(self, run: PushedRun) -> None:
        """Remembers a run that is over for a while: its answer may be sent again."""
        if run.open or self._running.pop(run.claim.run, None) is None:
            return
        self._finished[run.claim.run] = run
        if len(self._finished) > MAX_FINISHED:
            self._finished.popitem(last=False)


async def _best_effort(call: Coroutine[Any, Any, object]) -> None:
    with suppress(ClaimLost, Unavailable):
        await call
