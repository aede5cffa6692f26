"""Plugins of packages that are not installed, as files on the path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskrunner.config import plugins

Install = Callable[..., None]


def clear_plugins() -> None:
    for listing in (plugins.platforms, plugins.hosts, plugins.queues, plugins.stores):
        listing.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Makes a package with one module and one entry point, as `pip install` would."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def add(package: str, group: str, name: str, source: str) -> None:
        module = package.replace("-", "_")
        (site / f"{module}.py").write_text(source)
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[taskrunner.{group}]\n{name} = {module}:Plugin\n")
        clear_plugins()

    yield add
    clear_plugins()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and an environment without variables of this project."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for name in ("CAPACITY", "QUEUE", "STORE", "HOST", "WORKER_ID", "LEASE", "MIN_FREE_DISK", "HOME", "CONFIG"):
        monkeypatch.delenv(f"TASKRUNNER_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return work
