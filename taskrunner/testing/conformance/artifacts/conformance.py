"""ArtifactStoreConformance: what every artifact store does. The author of a store runs it::

    class TestMyStore(ArtifactStoreConformance):
        def store(self):
            return MyStore("bucket-of-this-test")

Each call of `store` opens the same store, which is empty at the begin of a test. Every call may raise the errors that
its interface names, and no others.
"""

from __future__ import annotations

from taskrunner.testing.conformance.artifacts.deletion import DeletionChecks
from taskrunner.testing.conformance.artifacts.logs import LogStoreChecks
from taskrunner.testing.conformance.artifacts.putting import PutChecks
from taskrunner.testing.conformance.artifacts.uploads import UploadChecks


class ArtifactStoreConformance(PutChecks, UploadChecks, LogStoreChecks, DeletionChecks):
    """All tests of stores. `StoreKit` says what a subclass defines, and what it may override."""


__all__ = ["ArtifactStoreConformance"]
