"""The installed service under a real systemd: ready, described, drained, and started again when it hangs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import TASKRUNNER, open_gate
from tests.support.queue_processes import until
from tests.support.site_packages import install_module
from tests.support.systemd import ServiceManager, service_manager

UNIT = "ci-worker.service"
INSTALL = (TASKRUNNER, "service", "install", "--user", "--name", "ci-worker")

WEDGING_HOST = '''\
"""A host whose check before a claim blocks the worker's loop, once."""

import time
from pathlib import Path

from taskrunner_standalone import StandaloneHost

WEDGE = Path(__file__).with_name("wedge")


class WedgingHost(StandaloneHost):
    def should_shutdown_now(self) -> bool:
        if WEDGE.exists():
            WEDGE.unlink()
            time.sleep(3600)
        return super().should_shutdown_now()
'''
PROJECT = """\
[project]
name = "wedging-host"
version = "1"
[project.entry-points."taskrunner.hosts"]
wedging = "wedging_host:WedgingHost"
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with service_manager(tmp_path) as running:
        yield running


def configure(folder: Path, text: str) -> None:
    path = folder / "config/taskrunner/taskrunner.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def submit(manager: ServiceManager, folder: Path, task_id: str, script: str) -> None:
    path = folder / f"{task_id}.json"
    path.write_text(json.dumps({"id": task_id, "platform": "process", "command": ["sh", "-c", script]}))
    manager(TASKRUNNER, "submit", str(path))


def test_a_service_from_its_installation_to_its_removal(manager: ServiceManager, tmp_path: Path) -> None:
    configure(tmp_path, "capacity = 2\nstop_timeout = 300\n")
    assert f"{UNIT} was made" in manager(*INSTALL)
    assert manager.property(UNIT, "ActiveState") == "active"
    assert manager.property(UNIT, "StatusText") == "claiming, 0 of 2 slots taken"
    assert manager.property(UNIT, "TimeoutStopUSec") == "5min"
    assert "up to date" in manager(*INSTALL)

    gate = tmp_path / "gate"
    gate.with_name("gate.made").touch()
    manager("mkfifo", str(gate))
    submit(manager, tmp_path, "t", f"read line < {gate}")
    until(lambda: manager.property(UNIT, "StatusText") == "claiming, 1 of 2 slots taken")
    manager("systemctl", "--user", "stop", "--no-block", UNIT)
    until(lambda: manager.property(UNIT, "StatusText") == "shutting down, 1 of 2 slots taken: SIGTERM")
    open_gate(gate)
    until(lambda: manager.property(UNIT, "ActiveState") == "inactive")
    assert manager.property(UNIT, "Result") == "success"
    assert "completed" in manager(TASKRUNNER, "show", "t")

    configure(tmp_path, "capacity = 0\n")
    assert "capacity" in manager(*INSTALL, status=2)
    manager("systemctl", "--user", "start", UNIT, status=1)
    assert manager.property(UNIT, "ExecMainStatus") == "2"
    assert manager.property(UNIT, "ActiveState") == "failed"  # and not `activating`, as before another start

    assert "was removed" in manager(TASKRUNNER, "service", "uninstall", "--user", "--name", "ci-worker")
    assert not (tmp_path / "config/systemd/user" / UNIT).exists()
    assert manager.property(UNIT, "LoadState") == "not-found"


def test_a_worker_whose_loop_is_blocked_is_started_again(manager: ServiceManager, tmp_path: Path) -> None:
    source, project = tmp_path / "wedging_host.py", tmp_path / "pyproject.toml"
    source.write_text(WEDGING_HOST)
    project.write_text(PROJECT)
    install_module(tmp_path / "site", source, project)
    configure(tmp_path, "")
    faster = tmp_path / f"config/systemd/user/{UNIT}.d/faster.conf"
    faster.parent.mkdir(parents=True)
    python_path = f"Environment=PYTHONPATH={tmp_path / 'site'} TASKRUNNER_HOST=wedging"
    faster.write_text(f"[Service]\n{python_path}\nWatchdogSec=2\nRestartSec=0\nLimitCORE=0\n")
    manager(*INSTALL)
    first = manager.property(UNIT, "MainPID")

    wedge = tmp_path / "site/wedge"
    wedge.touch()
    submit(manager, tmp_path, "t", "true")
    until(lambda: manager.property(UNIT, "NRestarts") != "0")
    until(lambda: manager.property(UNIT, "ActiveState") == "active")
    assert not wedge.exists()
    assert manager.property(UNIT, "MainPID") != first
