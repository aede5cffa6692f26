"""The launcher's worker as a push source, held to the contract of all push sources by a client of `websockets`."""

from __future__ import annotations

from taskrunner.testing import PushSourceConformance
from tests.support.launcher_kit import LauncherKit


class TestLauncherSource(LauncherKit, PushSourceConformance): ...
