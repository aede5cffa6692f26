"""The agent as a push source, held to the contract of all push sources by a grpcio client."""

from __future__ import annotations

from taskrunner.testing import PushSourceConformance
from tests.support.agent_kit import AgentKit


class TestAgentSource(AgentKit, PushSourceConformance): ...
