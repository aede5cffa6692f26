"""PushSourceConformance: what every push source does. The author of a source runs it::

    class TestMySource(PushSourceConformance):
        carries = frozenset({"log", "artifacts"})

        def queue(self, worker_id, home):
            self.source = MySource(port=0)
            return PushQueue(self.source, worker_id, home)

        async def connect(self):
            return await MyClient.connect(self.source.port)

The tests drive a whole worker, whose platform is a FakePlatform, by clients of the source's own protocol.
"""

from __future__ import annotations

from taskrunner.testing.conformance.push_source.parting import PartingChecks
from taskrunner.testing.conformance.push_source.taking import TakingChecks
from taskrunner.testing.conformance.push_source.telling import TellingChecks


class PushSourceConformance(TakingChecks, TellingChecks, PartingChecks):
    """All tests of push sources. `PushSourceKit` says what a subclass defines, and what it may override."""


__all__ = ["PushSourceConformance"]
