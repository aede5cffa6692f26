"""The worker of an orchestrator as a push source, held to the contract of all push sources by a grpcio client."""

from __future__ import annotations

from taskrunner.testing import PushSourceConformance
from tests.support.orchestrator_kit import OrchestratorKit


class TestOrchestratorSource(OrchestratorKit, PushSourceConformance): ...
