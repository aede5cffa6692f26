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

from taskrunner.testing.conformance.queue_claims import ClaimChecks, LeaseChecks
from taskrunner.testing.conformance.queue_endings import CancelChecks, EndingChecks, SubmitChecks


class QueueConformance(ClaimChecks, LeaseChecks, EndingChecks, SubmitChecks, CancelChecks):
    """All tests of queues. `QueueKit` says what a subclass defines, and what it may override."""


__all__ = ["QueueConformance"]
