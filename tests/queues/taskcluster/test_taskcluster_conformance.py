"""The shipped kit, as far as Taskcluster can: what it cannot is listed in docs/taskcluster.md."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import attrs
import pytest

from taskrunner.model import Claim, Document
from taskrunner.queues.taskcluster.options import KnownAs, TaskQueueAddress
from taskrunner.queues.taskcluster.queue import TaskclusterQueue
from taskrunner.queues.taskcluster.service.answers import ClaimedRun
from taskrunner.queues.taskcluster.service.credentials import Credentials
from taskrunner.queues.taskcluster.service.server_clock import TimedAnswer
from taskrunner.testing.conformance.queue.conformance import QueueConformance
from tests.support.taskcluster.server import ACCESS_TOKEN, CLIENT_ID, QUEUE, TaskclusterServer
from tests.support.taskcluster.submitter import ServerSubmitter

LEASE = 2.0
"""Seconds. A `Date` is in whole ones, so that one of them is lost."""


class PlainQueue(TaskclusterQueue):
    """Its documents are the payloads: those of the kit are no docker-worker's."""

    capabilities = attrs.evolve(TaskclusterQueue.capabilities, lease=LEASE)

    async def _new_claim(self, grant: ClaimedRun, exchange: TimedAnswer) -> Claim:
        payload = grant.task["payload"]
        assert isinstance(payload, dict)
        document: Document = payload
        return attrs.evolve(await super()._new_claim(grant, exchange), document=document)


class TestTaskclusterQueue(QueueConformance):
    short = LEASE

    # The queue keeps of a resolution its state and its reason, in its own words: neither message nor result.
    test_a_cancelled_task_never_runs = None
    test_the_reasons_in_retried_make_a_new_run = None
    test_a_run_that_is_tried_again_keeps_its_own_resolution = None
    test_a_submitter_makes_a_new_run_with_all_retries = None
    test_a_resolution_is_kept_whole = None
    test_resolve_after_takeover_is_refused_and_changes_nothing = None

    # A run can only be handed back by `worker-shutdown`, at once, and it costs a retry.
    test_a_release_costs_no_retry = None

    # A task has no time before which it must not run.
    test_not_before_is_respected = None

    # The test lets the one length of lease pass that the queue has, and goes on with the claim.
    test_a_waiting_claim_wakes_when_a_run_is_released = None
    test_a_waiting_claim_wakes_when_a_task_is_tried_again = None
    test_a_stale_reclaim_does_not_shorten_the_lease_of_the_new_owner = None

    @pytest.fixture(autouse=True)
    def _server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr("taskrunner.queues.taskcluster.queue.PAUSE", 0.05)
        with TaskclusterServer(claim_timeout=LEASE, poll=0.2) as self.server:
            yield

    def worker(self, worker_id: str) -> TaskclusterQueue:
        own = Credentials(CLIENT_ID, ACCESS_TOKEN)
        return PlainQueue(TaskQueueAddress(self.server.url, QUEUE), own, worker_id, KnownAs("group", worker_id))

    def submitter(self) -> ServerSubmitter:
        return ServerSubmitter(self.server)

    async def pass_time(self, seconds: float) -> None:
        self.server.advance(seconds)
        await asyncio.sleep(0)

    async def take_down(self) -> None:
        await asyncio.to_thread(self.server.take_down)

    async def bring_back(self) -> None:
        await asyncio.to_thread(self.server.bring_back)
