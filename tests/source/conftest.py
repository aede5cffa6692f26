from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskrunner.interfaces.source import EVERYTHING, SourceOptions
from tests.support.file_server import FileServer, serving
from tests.support.source_run import SourceRun


@pytest.fixture
def run(tmp_path: Path) -> SourceRun:
    return SourceRun(tmp_path / "home", SourceOptions((str(tmp_path / "allowed"),), EVERYTHING))


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """A folder whose archives may be named."""
    path = tmp_path / "allowed"
    path.mkdir()
    return path


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running
