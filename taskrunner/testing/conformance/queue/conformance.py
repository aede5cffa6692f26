"""QueueConformance: what every queue does. The author of a queue runs it::

    class TestMyQueue(QueueConformance):
        @pytest.fixture(autouse=True)
        def _server(self, my_server):
            self.url = my_server.url

        def worker(self, worker_id):
            return MyQueue(self.url, worker_id)

        def submitter(self):
            return MySubmitter(self.url)

The tests run in real time, unless a subclass overrides `run` and `pass_time`. A test is left out when the queue's
`capabilities` or a NotSupported say that the queue cannot do what it tests.
"""

from __future__ import annotations

from taskrunner.testing.conformance.queue.canceling import CancelChecks
from taskrunner.testing.conformance.queue.claims import ClaimChecks
from taskrunner.testing.conformance.queue.endings import EndingChecks, RunLogChecks
from taskrunner.testing.conformance.queue.faults import FaultChecks
from taskrunner.testing.conformance.queue.leases import LeaseChecks
from taskrunner.testing.conformance.queue.retries import RetryChecks
from taskrunner.testing.conformance.queue.room import RoomChecks
from taskrunner.testing.conformance.queue.submitting import SubmitChecks
from taskrunner.testing.conformance.queue.waiting import WaitChecks
from taskrunner.testing.conformance.queue.watching import StatusChecks


class QueueConformance(
    ClaimChecks,
    WaitChecks,
    RoomChecks,
    LeaseChecks,
    EndingChecks,
    RunLogChecks,
    RetryChecks,
    SubmitChecks,
    StatusChecks,
    CancelChecks,
    FaultChecks,
):
    """All tests of queues. `QueueKit` says what a subclass defines, and what it may override."""


__all__ = ["QueueConformance"]
