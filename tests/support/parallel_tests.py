"""A plugin of pytest, for `-n`. It changes nothing where xdist is not installed, as with the lowest versions."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.support.folder_scheduling import FolderScheduling

    return FolderScheduling(config, log)
