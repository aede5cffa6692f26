"""A worker is alive as long as its process, and is recovered once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from taskrunner.errors import Conflict
from taskrunner.state.worker_lock import WorkerLock, dead_workers, recovering
from tests.support.killed import run_until_ready_and_kill

HOLD = """
    import sys, pathlib, time
    from taskrunner.state.worker_lock import WorkerLock
    lock = WorkerLock(pathlib.Path(sys.argv[1]), sys.argv[2])
    print("ready", flush=True)
    time.sleep(600)
"""


def test_the_lock_of_a_living_worker_is_held_and_its_id_is_taken(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path, "w.1")
    assert dead_workers(tmp_path) == []
    with recovering(tmp_path, "w.1") as mine:
        assert not mine
    with pytest.raises(Conflict):
        WorkerLock(tmp_path, "w.1")
    lock.release()
    lock.release()
    assert dead_workers(tmp_path) == []
    assert list((tmp_path / "workers").iterdir()) == []


def test_an_abandoned_lock_is_that_of_a_dead_worker(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path, "w1")
    lock.abandon()
    lock.release()
    assert dead_workers(tmp_path) == ["w1"]


def test_a_killed_worker_is_recovered_once(tmp_path: Path) -> None:
    run_until_ready_and_kill(HOLD, tmp_path, "w1")
    assert dead_workers(tmp_path) == ["w1"]
    with pytest.raises(Conflict):
        WorkerLock(tmp_path, "w1")
    with recovering(tmp_path, "w1") as mine:
        assert mine
        with recovering(tmp_path, "w1") as second:
            assert not second
        assert dead_workers(tmp_path) == []
    assert dead_workers(tmp_path) == []
    with recovering(tmp_path, "w1") as again:
        assert not again


def test_a_recovery_that_fails_is_left_to_the_next_worker(tmp_path: Path) -> None:
    run_until_ready_and_kill(HOLD, tmp_path, "w1")
    with pytest.raises(RuntimeError), recovering(tmp_path, "w1"):
        raise RuntimeError
    assert dead_workers(tmp_path) == ["w1"]


def test_programs_that_a_worker_started_do_not_keep_it_alive(tmp_path: Path) -> None:
    code = """
        import sys, pathlib, subprocess, time
        from taskrunner.state.worker_lock import WorkerLock
        lock = WorkerLock(pathlib.Path(sys.argv[1]), "w1")
        child = subprocess.Popen(["sleep", "600"], close_fds=False, stdout=subprocess.DEVNULL)
        print(child.pid)
        print("ready", flush=True)
        time.sleep(600)
    """
    (child,) = run_until_ready_and_kill(code, tmp_path)
    try:
        assert dead_workers(tmp_path) == ["w1"]
    finally:
        subprocess.run([sys.executable, "-c", f"import os; os.kill({int(child)}, 9)"], check=True)
