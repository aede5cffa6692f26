"""Bugs of queues: what they do for submitters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from fnmatch import fnmatchcase

import attrs

from taskrunner import Claim, Resolution, Submission, TaskStatus
from taskrunner.model import COMPLETED, exception
from tests.testing.planted.small_queue import QUEUES, Entry, Run, SmallQueue

# ---- submitting -----------------------------------------------------------------------------------------


@QUEUES.caught_by("test_submitting_the_same_again_changes_nothing")
class RunsATaskThatIsSubmittedAgain(SmallQueue):
    """False: it was known, with the same document."""

    async def submit(self, submission: Submission) -> bool:
        if (known := self.board.tasks.get(submission.task_id)) and known.state == "resolved":
            self.make_pending(known, 0)
        return await super().submit(submission)


@QUEUES.caught_by("test_submitting_the_same_again_changes_nothing")
class SaysThatAKnownTaskIsNew(SmallQueue):
    """False: it was known, with the same document."""

    async def submit(self, submission: Submission) -> bool:
        await super().submit(submission)
        return True


@QUEUES.caught_by("test_submitting_something_else_by_the_same_id_is_a_conflict")
class KeepsTheFirstDocument(SmallQueue):
    """Conflict (the id is known with another document)."""

    def is_same(self, one: Submission, other: Submission) -> bool:
        return True


@QUEUES.caught_by("test_submitting_something_else_by_the_same_id_is_a_conflict")
class TakesTheLastDocument(SmallQueue):
    """Conflict (the id is known with another document)."""

    async def submit(self, submission: Submission) -> bool:
        if known := self.board.tasks.get(submission.task_id):
            known.submission = submission
        return await super().submit(submission)


@QUEUES.caught_by("test_the_same_document_in_another_order_is_the_same")
class ComparesTexts(SmallQueue):
    """False: it was known, with the same document."""

    def is_same(self, one: Submission, other: Submission) -> bool:
        return json.dumps(one.document) == json.dumps(other.document)


@QUEUES.caught_by("test_a_document_that_is_too_large_is_refused")
class TakesAnySize(SmallQueue):
    """MalformedPayload (beyond the limits of `limits`)."""

    def check(self, submission: Submission) -> None:
        super().check(attrs.evolve(submission, document={}))


@QUEUES.caught_by("test_a_document_that_is_too_large_is_refused")
class KeepsWhatItRefuses(SmallQueue):
    """MalformedPayload (beyond the limits of `limits`)."""

    async def submit(self, submission: Submission) -> bool:
        if submission.task_id not in self.board.tasks:
            self.add(submission)
            self.check(submission)
            return True
        return await super().submit(submission)


@QUEUES.caught_by("test_a_submission_beyond_the_limits_is_refused")
class TakesAnyPriority(SmallQueue):
    """MalformedPayload (beyond the limits of `limits`)."""

    def check(self, submission: Submission) -> None:
        super().check(attrs.evolve(submission, priority=0))


@QUEUES.caught_by("test_a_submission_beyond_the_limits_is_refused")
class TakesAnyId(SmallQueue):
    """MalformedPayload (beyond the limits of `limits`)."""

    def check(self, submission: Submission) -> None:
        super().check(attrs.evolve(submission, task_id="good"))


@QUEUES.caught_by("test_a_task_that_is_not_claimed_before_its_deadline_is_resolved")
class IgnoresTheDeadline(SmallQueue):
    """A time of day (UTC) after which the result is not needed."""

    def add(self, submission: Submission) -> None:
        super().add(attrs.evolve(submission, deadline=None))


@QUEUES.caught_by("test_an_unknown_task_is_an_error_in_every_call")
class RaisesAKeyErrorForAnUnknownTask(SmallQueue):
    """Raises: UnknownTask."""

    async def task(self, task_id: str) -> Entry:
        self.expire()
        return self.board.tasks[task_id]


@QUEUES.caught_by("test_an_unknown_task_is_an_error_in_every_call")
class CancelsWhatItDoesNotKnow(SmallQueue):
    """Raises: UnknownTask."""

    async def cancel(self, task_id: str, message: str = "") -> bool:
        return task_id in self.board.tasks and await super().cancel(task_id, message)


# ---- cancelling and retrying ----------------------------------------------------------------------------


@QUEUES.caught_by("test_a_cancelled_run_is_lost_even_when_no_notice_arrives")
class LeavesTheRunToItsWorker(SmallQueue):
    """Ends a task, pending or running."""

    def end(self, task: Entry, run: Run, ended_by: str, resolution: Resolution) -> None:
        if ended_by != "cancel":
            super().end(task, run, ended_by, resolution)


@QUEUES.caught_by("test_a_cancelled_run_is_lost_even_when_no_notice_arrives")
class SaysThatACancelledRunIsResolved(SmallQueue):
    """`canceled`: a submitter cancelled it."""

    def end(self, task: Entry, run: Run, ended_by: str, resolution: Resolution) -> None:
        super().end(task, run, "other" if ended_by == "cancel" else ended_by, resolution)


@QUEUES.caught_by("test_a_cancelled_task_never_runs")
class CancelsWhatRunsAlone(SmallQueue):
    """Ends a task, pending or running."""

    async def cancel(self, task_id: str, message: str = "") -> bool:
        task = await self.task(task_id)
        return task.state == "pending" or await super().cancel(task_id, message)


@QUEUES.caught_by("test_a_cancelled_task_never_runs")
class CancelsTwice(SmallQueue):
    """False: it had been resolved already."""

    async def cancel(self, task_id: str, message: str = "") -> bool:
        await super().cancel(task_id, message)
        return True


@QUEUES.caught_by("test_a_cancelled_task_never_runs")
class DropsTheMessageOfACancellation(SmallQueue):
    """Ends a task, with a message."""

    async def cancel(self, task_id: str, message: str = "") -> bool:
        return await super().cancel(task_id)


@QUEUES.caught_by("test_a_resolution_is_not_cancelled")
class CancelsAResolution(SmallQueue):
    """False: it had been resolved already."""

    async def cancel(self, task_id: str, message: str = "") -> bool:
        cancelled = await super().cancel(task_id, message)
        self.board.tasks[task_id].resolution = exception("canceled", message)
        return cancelled


@QUEUES.caught_by("test_when_a_cancellation_meets_a_resolution_one_wins_for_all")
class LetsACancellationAndAResolutionWin(SmallQueue):
    """Only `reclaim` and `resolve` decide who holds a run."""

    async def cancel(self, task_id: str, message: str = "") -> bool:
        task = await self.task(task_id)
        state = task.state
        await asyncio.sleep(0)  # between reading and writing
        if state == "running":
            task.state, task.resolution = "resolved", exception("canceled", message)
        return state == "running" or await super().cancel(task_id, message)


@QUEUES.caught_by("test_a_submitter_makes_a_new_run_with_all_retries")
class RefreshesNoRetries(SmallQueue):
    """Makes a new run of a task that was resolved, with all its retries."""

    async def retry(self, task_id: str) -> bool:
        left = self.board.tasks[task_id].retries_left if task_id in self.board.tasks else 0
        retried = await super().retry(task_id)
        if retried:
            self.board.tasks[task_id].retries_left = left
        return retried


@QUEUES.caught_by("test_only_a_task_that_was_resolved_is_retried")
class RetriesWhatIsPending(SmallQueue):
    """False: it is not resolved."""

    async def retry(self, task_id: str) -> bool:
        return await super().retry(task_id) or self.board.tasks[task_id].state == "pending"


@QUEUES.caught_by("test_only_a_task_that_was_resolved_is_retried")
class KeepsTheOldResolutionOfATaskThatRunsAgain(SmallQueue):
    """Of the task: that of its last run."""

    async def retry(self, task_id: str) -> bool:
        before = self.board.tasks[task_id].resolution
        retried = await super().retry(task_id)
        self.board.tasks[task_id].resolution = before
        return retried


@QUEUES.caught_by("test_a_submitter_makes_a_new_run_with_all_retries")
class ForgetsTheRunsBeforeARetry(SmallQueue):
    """A task and all its runs."""

    async def retry(self, task_id: str) -> bool:
        retried = await super().retry(task_id)
        if retried:
            del self.board.tasks[task_id].runs[:-1]
        return retried


@QUEUES.caught_by("test_run_ids_rise")
class BeginsAgainWithRun0(SmallQueue):
    """Rises with each grant."""

    async def retry(self, task_id: str) -> bool:
        retried = await super().retry(task_id)
        if retried:
            self.board.tasks[task_id].runs.clear()
        return retried


@QUEUES.caught_by("test_a_task_that_was_cancelled_is_retried_without_its_old_worker")
class LetsTheWorkerOfACancelledRunGoOn(SmallQueue):
    """Ends a task, pending or running."""

    def check_held(self, task: Entry, run: Run) -> None:
        if run.ended_by == "cancel" and task.state != "resolved":
            return
        super().check_held(task, run)


# ---- what it reports ------------------------------------------------------------------------------------


@QUEUES.caught_by("test_a_status_follows_its_task")
class NamesNoWorker(SmallQueue):
    """One run, as its queue knows it."""

    def status_of(self, task: Entry) -> TaskStatus:
        status = super().status_of(task)
        return attrs.evolve(status, runs=tuple(attrs.evolve(run, worker_id="") for run in status.runs))


@QUEUES.caught_by("test_a_status_follows_its_task")
class ReportsTheLastRunAlone(SmallQueue):
    """A task and all its runs."""

    def status_of(self, task: Entry) -> TaskStatus:
        status = super().status_of(task)
        return attrs.evolve(status, runs=status.runs[-1:])


@QUEUES.caught_by("test_a_status_follows_its_task")
class ReportsTimesWithoutAZone(SmallQueue):
    """Times of day are aware datetimes in UTC."""

    def status_of(self, task: Entry) -> TaskStatus:
        return attrs.evolve(super().status_of(task), submitted=task.submitted.replace(tzinfo=None))


@QUEUES.caught_by("test_a_status_follows_its_task")
class IsPendingUntilItIsResolved(SmallQueue):
    """`pending`, `running`, `resolved`."""

    def status_of(self, task: Entry) -> TaskStatus:
        status = super().status_of(task)
        return attrs.evolve(status, state="pending" if status.state == "running" else status.state)


@QUEUES.caught_by("test_a_run_that_is_tried_again_keeps_its_own_resolution")
class ReportsNoResolutionOfARun(SmallQueue):
    """One run, as its queue knows it."""

    def status_of(self, task: Entry) -> TaskStatus:
        status = super().status_of(task)
        if status.state == "resolved":
            return status
        return attrs.evolve(status, runs=tuple(attrs.evolve(run, resolution=None) for run in status.runs))


@QUEUES.caught_by("test_a_status_lists_every_run")
class ReportsASubmissionWithoutItsFields(SmallQueue):
    """The document, and the fields that a queue itself reads."""

    def status_of(self, task: Entry) -> TaskStatus:
        status = super().status_of(task)
        return attrs.evolve(status, submission=Submission(status.task_id, status.submission.document))


@QUEUES.caught_by("test_a_watcher_sees_the_task_change_until_it_is_resolved", hangs=True)
class WatchesForEver(SmallQueue):
    """Until it is resolved."""

    async def watch(self, task_id: str) -> AsyncIterator[TaskStatus]:
        async for status in super().watch(task_id):
            yield status
        await self.changed(1e6)


@QUEUES.caught_by("test_a_watcher_sees_the_task_change_until_it_is_resolved")
class WatchesTheBeginningAlone(SmallQueue):
    """The status now and after each change."""

    async def watch(self, task_id: str) -> AsyncIterator[TaskStatus]:
        yield await self.status(task_id)


@QUEUES.caught_by("test_a_watcher_of_a_resolved_task_sees_it_once", hangs=True)
class WaitsForAChangeOfAResolvedTask(SmallQueue):
    """The status now and after each change."""

    async def watch(self, task_id: str) -> AsyncIterator[TaskStatus]:
        if self.board.tasks[task_id].state == "resolved":
            await self.changed(1e6)
        async for status in super().watch(task_id):
            yield status


@QUEUES.caught_by("test_a_watcher_sees_a_cancellation", hangs=True)
class WatchesNoCancellation(SmallQueue):
    """The status now and after each change."""

    def wake(self, cause: str) -> None:
        if cause != "cancel":
            super().wake(cause)


@QUEUES.caught_by("test_tasks_are_listed_newest_first")
class ListsTheOldestFirst(SmallQueue):
    """The newest tasks first."""

    def newest(self) -> Sequence[Entry]:
        return list(self.board.tasks.values())


@QUEUES.caught_by("test_tasks_are_listed_newest_first")
class ListsAllTasks(SmallQueue):
    """`limit`."""

    async def list(self, *, limit: int = 100) -> AsyncIterator[TaskStatus]:
        async for status in super().list(limit=1000):
            yield status


@QUEUES.caught_by("test_tasks_that_could_be_claimed_are_counted")
class CountsNextYearsTasks(SmallQueue):
    """Without those whose `not_before` has not come."""

    def has_begun(self, task: Entry) -> bool:
        return True


@QUEUES.caught_by("test_tasks_that_could_be_claimed_are_counted")
class CountsNoDelayedTask(SmallQueue):
    """Including those that wait for a delay."""

    def has_begun(self, task: Entry) -> bool:
        return self.is_ready(task)


@QUEUES.caught_by("test_what_was_resolved_is_not_counted")
class CountsWhatWasResolved(SmallQueue):
    """How many tasks wait to be claimed."""

    async def pending(self) -> int:
        return sum(task.state != "running" and self.has_begun(task) for task in self.board.tasks.values())


@QUEUES.caught_by("test_tasks_that_ended_are_forgotten_and_no_others")
class ForgetsWhatRuns(SmallQueue):
    """Never one that is pending or running, whatever its age."""

    def is_over(self, task: Entry, before: datetime) -> bool:
        return task.submitted < before


@QUEUES.caught_by("test_ids_are_found_by_their_beginning")
class FindsIdsByAPattern(SmallQueue):
    """No character of it has a meaning of its own."""

    def begins(self, task_id: str, prefix: str) -> bool:
        return bool(prefix) and fnmatchcase(task_id, f"{prefix}*")


@QUEUES.caught_by("test_ids_are_found_by_their_beginning")
class FindsAPartOfAnId(SmallQueue):
    """The ids that begin so."""

    def begins(self, task_id: str, prefix: str) -> bool:
        return bool(prefix) and prefix in task_id


@QUEUES.caught_by("test_ids_are_found_by_their_beginning")
class FindsEveryIdForNothing(SmallQueue):
    """None for an empty text."""

    def begins(self, task_id: str, prefix: str) -> bool:
        return task_id.startswith(prefix)


@QUEUES.caught_by("test_tasks_that_ended_are_forgotten_and_no_others")
class ForgetsWhatEndedToday(SmallQueue):
    """The tasks that were resolved before this time of day."""

    def is_over(self, task: Entry, before: datetime) -> bool:
        return task.state == "resolved"


@QUEUES.caught_by("test_tasks_that_ended_are_forgotten_and_no_others")
class ForgetsWithoutBeingAsked(SmallQueue):
    """With `dry_run`, they stay."""

    async def forget(self, before: datetime, *, dry_run: bool = False) -> int:
        return await super().forget(before)


@QUEUES.caught_by("test_a_queue_that_is_down_is_unavailable")
class SaysThatATaskIsKnownWhenItIsDown(SmallQueue):
    """Every method may raise Unavailable."""

    async def submit(self, submission: Submission) -> bool:
        return not self.board.is_down and await super().submit(submission)


@QUEUES.caught_by("test_a_queue_that_is_down_is_unavailable")
class AppliesACallAgain(SmallQueue):
    """Every call may be repeated with the same arguments: a reply can be lost."""

    async def resolve(self, claim: Claim, resolution: Resolution) -> object:  # type: ignore[override]
        if self.board.is_down:
            self.board.is_down = False
            try:
                await super().resolve(claim, resolution)
                self.board.tasks[claim.task_id].resolution = COMPLETED
                self.find(claim)[1].ended_by = "cancel"
            finally:
                self.board.is_down = True
        return await super().resolve(claim, resolution)


@QUEUES.caught_by("test_a_worker_knows_other_tasks_as_their_submitter_does")
class TellsAWorkerOfTheRunsOfOthersOnly(SmallQueue):
    """Of another task of this queue ...: those of its last completed run."""

    async def status(self, task_id: str) -> TaskStatus:
        status = await super().status(task_id)
        return attrs.evolve(status, runs=tuple(run for run in status.runs if run.worker_id != self.worker_id))
