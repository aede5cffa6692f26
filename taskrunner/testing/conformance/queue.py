"""QueueConformance: what every queue does. Whoever writes one runs this::

    class TestMyQueue(QueueConformance):
        @pytest.fixture(autouse=True)
        def _server(self, my_server):
            self.url = my_server.url

        def worker(self, worker_id):
            return MyQueue(self.url, worker_id)

        def submitter(self):
            return MySubmitter(self.url)

The time that passes is real, unless you override `run` and `pass_time`. What a queue cannot do is left out by what its
`capabilities` say, and by nothing else.
"""

from __future__ import annotations

from taskrunner.testing.conformance.queue_claims import ClaimChecks, LeaseChecks
from taskrunner.testing.conformance.queue_endings import CancelChecks, EndingChecks, SubmitChecks


class QueueConformance(ClaimChecks, LeaseChecks, EndingChecks, SubmitChecks, CancelChecks):
    """All of it. What a subclass has to define, and may, stands in `QueueKit`."""


__all__ = ["QueueConformance"]
