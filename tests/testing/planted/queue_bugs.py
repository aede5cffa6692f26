"""Bugs of queues: what they do for workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from taskrunner import Claim, Notice, Resolution
from taskrunner.interfaces.queue import Applied
from taskrunner.model import COMPLETED, exception
from tests.testing.planted.small_queue import QUEUES, Entry, Run, SmallQueue

# ---- claiming -------------------------------------------------------------------------------------------


@QUEUES.caught_by("test_claim_returns_at_most_n")
class GrantsAsManyAsItHas(SmallQueue):
    """Up to `n` runs."""

    def grant(self, n: int, lease: float) -> list[Claim]:
        return super().grant(self.capabilities.max_claim, lease)


@QUEUES.caught_by("test_one_call_grants_no_more_than_the_queue_says")
class GrantsMoreThanItSays(SmallQueue):
    """Most claims that one call grants."""

    def grant(self, n: int, lease: float) -> list[Claim]:
        return super().grant(1000 if n == self.capabilities.max_claim else n, lease)


@QUEUES.caught_by("test_one_run_is_granted_without_waiting_for_more", hangs=True)
class WaitsForAsManyAsWereAskedFor(SmallQueue):
    """Returns as soon as there is one."""

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        claims: list[Claim] = []
        end = self.now() + wait
        while len(claims) < n and self.now() < end:
            claims += await super().claim(n - len(claims), lease=lease, wait=end - self.now())
        return claims


@QUEUES.caught_by("test_claim_waits_and_then_returns_none")
class NeverWaits(SmallQueue):
    """An empty sequence after `wait` seconds."""

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        return await super().claim(n, lease=lease, wait=0)


@QUEUES.caught_by("test_claim_waits_and_then_returns_none", hangs=True)
class WaitsForEver(SmallQueue):
    """An empty sequence after `wait` seconds."""

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        return await super().claim(n, lease=lease, wait=1e9)


@QUEUES.caught_by("test_a_cancelled_claim_loses_no_run")
class LosesTheRunsOfACancelledClaim(SmallQueue):
    """When the call is cancelled, what was granted meanwhile is released."""

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        claims = await super().claim(n, lease=lease, wait=wait)
        await asyncio.sleep(0)  # the reply is on its way
        return claims


@QUEUES.caught_by("test_claimers_never_share_a_run")
class GrantsARunTwice(SmallQueue):
    """Runs, each ours."""

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        ready = self.ordered(self.ready())[:n]
        await asyncio.sleep(0)  # between reading and writing
        if not ready:
            return await super().claim(n, lease=lease, wait=wait)
        return [self.grant_one(task, lease) for task in ready]


@QUEUES.caught_by("test_a_higher_priority_goes_first_and_then_the_older_task")
class HasNoPriorities(SmallQueue):
    """`priorities`."""

    def ordered(self, tasks: list[Entry]) -> list[Entry]:
        return tasks


@QUEUES.caught_by("test_a_higher_priority_goes_first_and_then_the_older_task")
class GrantsTheNewestFirst(SmallQueue):
    """`priorities`."""

    def ordered(self, tasks: list[Entry]) -> list[Entry]:
        return sorted(tasks, key=lambda task: (-task.submission.priority, -task.number))


@QUEUES.caught_by("test_not_before_is_respected")
class GrantsTooEarly(SmallQueue):
    """A time of day before which the queue does not grant it."""

    def is_ready(self, task: Entry) -> bool:
        return task.ready_at <= self.now()


@QUEUES.caught_by("test_one_task_alone_is_claimed_where_that_is_supported")
class GrantsOtherTasksToo(SmallQueue):
    """From now on `claim` grants the runs of this task alone."""

    def claim_only(self, task_id: str) -> None:
        pass


@QUEUES.caught_by("test_a_document_arrives_as_it_was_submitted")
class TurnsValuesIntoTexts(SmallQueue):
    """The document is the one that was submitted."""

    def document(self, task: Entry) -> Any:
        return {name: str(value) for name, value in task.submission.document.items()}


@QUEUES.caught_by("test_a_document_arrives_as_it_was_submitted")
class DropsEmptyValues(SmallQueue):
    """The document is the one that was submitted."""

    def document(self, task: Entry) -> Any:
        return {name: value for name, value in super().document(task).items() if value is not None}


class WakesForSomeCauses(SmallQueue):
    """Returns as soon as there is one."""

    ignored: tuple[str, ...] = ()

    def wake(self, cause: str) -> None:
        if cause not in self.ignored:
            super().wake(cause)


@QUEUES.caught_by("test_a_waiting_claim_wakes_when_a_task_is_submitted", hangs=True)
class DoesNotWakeForASubmission(WakesForSomeCauses):
    """Returns as soon as there is one."""

    ignored = ("submit",)


@QUEUES.caught_by("test_a_waiting_claim_wakes_when_a_run_is_released", hangs=True)
class DoesNotWakeForARelease(WakesForSomeCauses):
    """Returns as soon as there is one."""

    ignored = ("pending", "release")


@QUEUES.caught_by("test_a_waiting_claim_wakes_when_a_task_is_tried_again", hangs=True)
class DoesNotWakeForARetry(WakesForSomeCauses):
    """Returns as soon as there is one."""

    ignored = ("pending", "holder")


@QUEUES.caught_by("test_a_waiting_claim_wakes_when_a_submitter_retries", hangs=True)
class DoesNotWakeForASubmittersRetry(WakesForSomeCauses):
    """Returns as soon as there is one."""

    ignored = ("pending",)


@QUEUES.caught_by("test_a_waiting_claim_wakes_when_a_lease_expires", hangs=True)
class DoesNotWakeWhenTimePasses(SmallQueue):
    """Returns as soon as there is one."""

    def next_due(self) -> float:
        return 1e6


@QUEUES.caught_by("test_a_claim_is_valid_for_its_lease_at_most")
class SaysUntilWhenByTheTimeOfDay(SmallQueue):
    """The same on the running loop's clock (`loop.time()`)."""

    def to_claim(self, task: Entry, run: Run, lease: float) -> Claim:
        return attrs.evolve(super().to_claim(task, run, lease), valid_until=time.time() * 1000 + lease)


@QUEUES.caught_by("test_a_claim_is_valid_for_its_lease_at_most")
class SaysForHowLong(SmallQueue):
    """The same on the running loop's clock (`loop.time()`)."""

    def to_claim(self, task: Entry, run: Run, lease: float) -> Claim:
        return attrs.evolve(super().to_claim(task, run, lease), valid_until=lease)


@QUEUES.caught_by("test_a_claim_is_valid_for_its_lease_at_most")
class SaysTheTimeWithoutAZone(SmallQueue):
    """When the lease ends, by the queue's clock (UTC)."""

    def to_claim(self, task: Entry, run: Run, lease: float) -> Claim:
        return attrs.evolve(super().to_claim(task, run, lease), taken_until=datetime.now(UTC).replace(tzinfo=None))


# ---- leases ---------------------------------------------------------------------------------------------


@QUEUES.caught_by("test_reclaim_after_takeover_is_refused")
class NeverEndsALease(SmallQueue):
    """Each ours for `lease` seconds."""

    def is_expired(self, run: Run) -> bool:
        return False


@QUEUES.caught_by("test_reclaim_keeps_others_out")
class DoesNotExtendTheLease(SmallQueue):
    """Ours for `lease` seconds from now."""

    def extend(self, run: Run, lease: float) -> None:
        pass


@QUEUES.caught_by("test_a_reclaim_that_succeeds_after_expiry_holds_the_whole_lease")
class ExtendsFromTheOldEnd(SmallQueue):
    """Ours for `lease` seconds from now. No other worker gets the run before that."""

    def extend(self, run: Run, lease: float) -> None:
        run.lease_end = run.lease_end + 0.01


@QUEUES.caught_by("test_reclaim_after_takeover_is_refused")
class RenewsAStaleClaim(SmallQueue):
    """Raises: ClaimLost (final)."""

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        task, run = self.find(claim)
        return self.to_claim(task, run, lease)


@QUEUES.caught_by("test_a_stale_reclaim_does_not_shorten_the_lease_of_the_new_owner")
class ShortensTheLeaseOfTheNewOwner(SmallQueue):
    """Raises: ClaimLost (nothing was changed)."""

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        self.extend(self.board.tasks[claim.task_id].runs[-1], lease)
        return await super().reclaim(claim, lease=lease)


@QUEUES.caught_by("test_resolve_after_takeover_is_refused_and_changes_nothing")
class ResolvesByTheTaskAlone(SmallQueue):
    """Raises: ClaimLost (nothing was changed)."""

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        task = self.board.tasks[claim.task_id]
        self.end(task, task.runs[-1], "holder", resolution)
        self.retry_or_resolve(task, resolution)
        return "applied"


@QUEUES.caught_by("test_release_after_takeover_is_refused")
class ReleasesTheRunOfTheNewOwner(SmallQueue):
    """Raises: ClaimLost."""

    async def release(self, claim: Claim, *, delay: float, reason: str) -> float:
        self.make_pending(self.board.tasks[claim.task_id], delay)
        return delay


@QUEUES.caught_by("test_a_repeated_release_takes_the_run_from_nobody")
class ReleasesTwice(SmallQueue):
    """Every call may be repeated with the same arguments."""

    async def release(self, claim: Claim, *, delay: float, reason: str) -> float:
        task, run = self.find(claim)
        if run.ended_by == "release":
            self.make_pending(task, delay)
            return delay
        return await super().release(claim, delay=delay, reason=reason)


@QUEUES.caught_by("test_reclaim_and_release_can_be_repeated_when_a_reply_was_lost")
class RefusesARepeatedRelease(SmallQueue):
    """Every call may be repeated with the same arguments: a reply can be lost."""

    async def release(self, claim: Claim, *, delay: float, reason: str) -> float:
        self.check_held(*self.find(claim))
        return await super().release(claim, delay=delay, reason=reason)


@QUEUES.caught_by("test_the_proof_of_another_claim_proves_nothing")
class IgnoresTheToken(SmallQueue):
    """Proof of ownership."""

    def is_run_of(self, run: Run, claim: Claim) -> bool:
        return run.run_id == claim.run_id


@QUEUES.caught_by("test_run_ids_rise")
class HasOneTokenForATask(SmallQueue):
    """Proof of ownership."""

    def token(self, task: Entry) -> str:
        return f"token of {task.submission.task_id}"


@QUEUES.caught_by("test_run_ids_rise")
class CountsNoReleasedRun(SmallQueue):
    """0 for the first run of a task; rises with each grant."""

    def next_run_id(self, task: Entry) -> int:
        return sum(run.ended_by != "release" for run in task.runs)


@QUEUES.caught_by("test_a_claim_is_a_value_that_another_object_can_use")
class KnowsItsOwnClaimsAlone(SmallQueue):
    """A claim is a value: the next worker finds it in the journal."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.mine: set[str] = set()

    def to_claim(self, task: Entry, run: Run, lease: float) -> Claim:
        self.mine.add(run.token)
        return super().to_claim(task, run, lease)

    def is_run_of(self, run: Run, claim: Claim) -> bool:
        return run.token in self.mine and super().is_run_of(run, claim)


@QUEUES.caught_by("test_claims_outlive_the_queue_object_that_was_closed")
class ReleasesItsClaimsWhenItCloses(SmallQueue):
    """Releases connections and files."""

    async def close(self) -> None:
        for task in self.board.tasks.values():
            if task.state == "running" and task.runs[-1].worker_id == self.worker_id:
                self.make_pending(task, 0)


@QUEUES.caught_by("test_claims_outlive_the_queue_object_that_was_closed")
class ClosesOnce(SmallQueue):
    """A second call does nothing."""

    closed = False

    async def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


@QUEUES.caught_by("test_reclaim_keeps_others_out")
class LeavesATaskBehind(SmallQueue):
    """`close` releases everything."""

    tasks: set[asyncio.Task[Any]] = set()

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        self.tasks.add(asyncio.create_task(asyncio.sleep(1e5)))
        return await super().claim(n, lease=lease, wait=wait)


# ---- the end of a run -----------------------------------------------------------------------------------


@QUEUES.caught_by("test_resolving_again_the_same_way_is_already_so")
class AppliesAResolutionTwice(SmallQueue):
    """Or the same claim had written the same one before."""

    def repeated(self, before: Resolution, resolution: Resolution) -> Applied:
        return "applied"


@QUEUES.caught_by("test_resolving_again_another_way_is_a_conflict")
class SeesNoConflict(SmallQueue):
    """Conflict (this claim was resolved otherwise)."""

    def repeated(self, before: Resolution, resolution: Resolution) -> Applied:
        return "already-so"


@QUEUES.caught_by("test_resolving_again_the_same_way_is_already_so")
class ComparesMessagesToo(SmallQueue):
    """The same for a queue: kind and reason; the messages may differ."""

    def repeated(self, before: Resolution, resolution: Resolution) -> Applied:
        return super().repeated(before, resolution if before == resolution else COMPLETED)


@QUEUES.caught_by("test_a_resolution_is_kept_whole")
class DropsTheResult(SmallQueue):
    """Reports how the run ended."""

    def kept(self, resolution: Resolution) -> Resolution:
        return attrs.evolve(resolution, result={})


@QUEUES.caught_by("test_a_resolution_is_kept_whole")
class DropsTheExitCode(SmallQueue):
    """Reports how the run ended."""

    def kept(self, resolution: Resolution) -> Resolution:
        return attrs.evolve(resolution, exit_code=None)


@QUEUES.caught_by("test_a_resolution_is_kept_whole")
class KeepsTheFirstLineOfTheMessage(SmallQueue):
    """Reports how the run ended."""

    def kept(self, resolution: Resolution) -> Resolution:
        return attrs.evolve(resolution, message=resolution.message.partition("\n")[0])


@QUEUES.caught_by("test_a_resolution_that_is_sent_twice_costs_one_retry")
class CountsARepeatedResolution(SmallQueue):
    """Every call may be repeated with the same arguments: a reply can be lost."""

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        applied = await super().resolve(claim, resolution)
        if applied == "already-so":
            self.retry_or_resolve(self.board.tasks[claim.task_id], resolution)
        return applied


@QUEUES.caught_by("test_a_claim_that_was_resolved_cannot_be_used")
class RenewsWhatWasResolved(SmallQueue):
    """Raises: ClaimLost."""

    def check_held(self, task: Entry, run: Run) -> None:
        if run.ended_by != "holder":
            super().check_held(task, run)


@QUEUES.caught_by("test_a_release_costs_no_retry")
class CostsARetryToRelease(SmallQueue):
    """It says nothing against the task and costs no retry."""

    async def release(self, claim: Claim, *, delay: float, reason: str) -> float:
        kept = await super().release(claim, delay=delay, reason=reason)
        task = self.board.tasks[claim.task_id]
        task.retries_left = max(task.retries_left - 1, 0)
        return kept


@QUEUES.caught_by("test_a_released_run_comes_back_after_its_delay")
class IgnoresTheDelay(SmallQueue):
    """To be claimed again after `delay` seconds."""

    def make_pending(self, task: Entry, delay: float) -> None:
        super().make_pending(task, 0)


@QUEUES.caught_by("test_a_long_delay_is_kept_as_far_as_the_queue_says")
class CutsALongDelay(SmallQueue):
    """Longest delay of `release`, in seconds; None: any."""

    async def release(self, claim: Claim, *, delay: float, reason: str) -> float:
        return await super().release(claim, delay=min(delay, 60), reason=reason)


@QUEUES.caught_by("test_a_long_delay_is_kept_as_far_as_the_queue_says")
class SaysALongerDelayThanItKeeps(SmallQueue):
    """Returns the delay that the queue keeps."""

    async def release(self, claim: Claim, *, delay: float, reason: str) -> float:
        await super().release(claim, delay=min(delay, 1), reason=reason)
        return delay


@QUEUES.caught_by("test_the_reasons_in_retried_make_a_new_run")
class RetriesAShutdownAlone(SmallQueue):
    """An exception whose reason is in `model.RETRIED` makes a new run."""

    def is_retried(self, task: Entry, resolution: Resolution) -> bool:
        return resolution.reason == "worker-shutdown" and task.retries_left > 0


@QUEUES.caught_by("test_another_reason_makes_no_new_run")
class RetriesEveryException(SmallQueue):
    """An exception whose reason is in `model.RETRIED` makes a new run."""

    def is_retried(self, task: Entry, resolution: Resolution) -> bool:
        return resolution.kind == "exception" and task.retries_left > 0


@QUEUES.caught_by("test_a_failed_run_makes_no_new_run")
class RetriesByTheReasonAlone(SmallQueue):
    """An exception whose reason is in `model.RETRIED` makes a new run."""

    def is_retried(self, task: Entry, resolution: Resolution) -> bool:
        return super().is_retried(task, attrs.evolve(resolution, kind="exception"))


@QUEUES.caught_by("test_the_reasons_in_retried_make_a_new_run")
class RetriesForEver(SmallQueue):
    """While retries are left."""

    def is_retried(self, task: Entry, resolution: Resolution) -> bool:
        task.retries_left = 2
        return super().is_retried(task, resolution)


@QUEUES.caught_by("test_a_task_whose_workers_all_die_is_resolved")
class CountsNoDeadWorker(SmallQueue):
    """While retries are left."""

    def retry_or_resolve(self, task: Entry, resolution: Resolution) -> None:
        if resolution.reason == "claim-expired":
            task.retries_left += 1
        super().retry_or_resolve(task, resolution)


# ---- notices and logs -----------------------------------------------------------------------------------


@QUEUES.caught_by("test_a_cancellation_is_pushed_to_its_worker_and_to_no_other")
class NotifiesEverybody(SmallQueue):
    """Advice for this worker."""

    def publish(self, worker_id: str, notice: Notice) -> None:
        for _, queue in self.board.subscribers:
            queue.put_nowait(notice)


@QUEUES.caught_by("test_a_cancellation_is_pushed_to_its_worker_and_to_no_other", hangs=True)
class NotifiesNobody(SmallQueue):
    """At once by a notice."""

    def publish(self, worker_id: str, notice: Notice) -> None:
        pass


@QUEUES.caught_by("test_a_cancellation_is_pushed_to_its_worker_and_to_no_other", hangs=True)
class SubscribesAtTheFirstRead(SmallQueue):
    """The subscription counts once the call has returned."""

    async def subscribe(self) -> AsyncIterator[Notice]:  # type: ignore[override]
        async for notice in super().subscribe():
            yield notice


@QUEUES.caught_by("test_every_notice_after_the_subscription_arrives", hangs=True)
class KeepsTheLastNoticeAlone(SmallQueue):
    """Each notice after that is in the iteration."""

    def publish(self, worker_id: str, notice: Notice) -> None:
        for subscriber, queue in self.board.subscribers:
            while subscriber == worker_id and not queue.empty():
                queue.get_nowait()
        super().publish(worker_id, notice)


@QUEUES.caught_by("test_every_notice_after_the_subscription_arrives")
class NotifiesWithoutTheMessage(SmallQueue):
    """Advice from a queue: kind, task and message."""

    def publish(self, worker_id: str, notice: Notice) -> None:
        super().publish(worker_id, attrs.evolve(notice, message=""))


@QUEUES.caught_by("test_a_worker_may_subscribe_again", hangs=True)
class SubscribesOnce(SmallQueue):
    """When the iteration ends, the worker subscribes again."""

    def subscribe(self) -> AsyncIterator[Notice]:
        if any(worker == self.worker_id for worker, _ in self.board.subscribers):
            return self.subscribed(asyncio.Queue())
        return super().subscribe()


@QUEUES.caught_by("test_appending_to_a_log_without_a_reader_never_blocks", hangs=True)
class WaitsForAReaderOfTheLog(SmallQueue):
    """Best effort, never waits for one."""

    async def append_log(self, claim: Claim, offset: int, chunk: bytes) -> None:
        if offset > 1 << 20:
            await self.changed(1e6)


@QUEUES.caught_by("test_a_watched_log_begins_at_its_offset_and_ends_with_its_run")
class WatchesALogFromItsBeginning(SmallQueue):
    """The log from a byte offset to its end."""

    def watch_log(self, task_id: str, run_id: int, offset: int = 0, *, follow: bool = True) -> AsyncIterator[bytes]:
        return super().watch_log(task_id, run_id, follow=follow)


@QUEUES.caught_by("test_a_watched_log_begins_at_its_offset_and_ends_with_its_run", hangs=True)
class WatchesALogForEver(SmallQueue):
    """To its end."""

    def log_has_ended(self, task: Entry, run_id: int) -> bool:
        return False


@QUEUES.caught_by("test_a_log_is_watched_to_its_present_end", hangs=True)
class AlwaysFollowsALog(SmallQueue):
    """Without `follow`, to its present end."""

    def watch_log(self, task_id: str, run_id: int, offset: int = 0, *, follow: bool = True) -> AsyncIterator[bytes]:
        return super().watch_log(task_id, run_id, offset)


# ---- faults ---------------------------------------------------------------------------------------------


@QUEUES.caught_by("test_a_queue_that_is_down_is_unavailable")
class HasNothingWhenItIsDown(SmallQueue):
    """Every method but `close` may raise Unavailable."""

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        return [] if self.board.is_down else await super().claim(n, lease=lease, wait=wait)


@QUEUES.caught_by("test_a_queue_that_is_down_is_unavailable")
class RaisesTheErrorOfItsClient(SmallQueue):
    """Every method but `close` may raise Unavailable."""

    def reach(self) -> None:
        if self.board.is_down:
            raise ConnectionRefusedError("111")


@QUEUES.caught_by("test_a_queue_that_is_down_is_unavailable")
class SaysItsClaimIsLostWhenItIsDown(SmallQueue):
    """Unavailable (transient, outcome unknown)."""

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        if self.board.is_down:
            self.check_held(self.board.tasks[claim.task_id], Run(0, "", "", 0, datetime.now(UTC), ended_by="expiry"))
        return await super().reclaim(claim, lease=lease)


@QUEUES.caught_by("test_a_queue_that_is_down_is_unavailable", hangs=True)
class TriesForEverWhenItIsDown(SmallQueue):
    """Every method but `close` may raise Unavailable."""

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        while self.board.is_down:
            await asyncio.sleep(5)
        return await super().resolve(claim, resolution)


@QUEUES.caught_by("test_a_queue_that_is_down_is_unavailable")
class RaisesWhenItClosesAndIsDown(SmallQueue):
    """`close` raises nothing."""

    async def close(self) -> None:
        self.reach()


@QUEUES.caught_by("test_a_queue_that_is_down_is_unavailable")
class ForgetsItsClaimsAfterAnOutage(SmallQueue):
    """Unavailable: the same call may be sent again."""

    def reach(self) -> None:
        if self.board.is_down:
            for task in self.board.tasks.values():
                if task.state == "running":
                    self.end(task, task.runs[-1], "expiry", exception("claim-expired", "the queue was down"))
                    self.make_pending(task, 0)
        super().reach()


@QUEUES.caught_by("test_claim_waits_and_then_returns_none")
class BlocksTheLoopWhileItWaits(SmallQueue):
    """Used from one event loop, by several coroutines at once."""

    async def changed(self, limit: float) -> None:
        time.sleep(0.001)
        await super().changed(min(limit, 0.5))


@QUEUES.not_caught("the request has to be delayed between the plug and its service, which no plug allows in general")
class CountsTheLeaseFromAfterTheRequest(SmallQueue):
    """Counted from *before* the request was sent."""


@QUEUES.not_caught("a power cut needs a machine that is turned off")
class LosesResolutionsInAPowerCut(SmallQueue):
    """`applied`: the resolution is written now."""


@QUEUES.not_caught("a leak of some bytes for each task shows after days")
class KeepsTheTokensOfAllRuns(SmallQueue):
    """Releases connections and files."""
