"""The name of a worker: one living process has it, and a dead one has it no longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskrunner.errors import ConfigError
from taskrunner.state.worker_lock import WorkerLock
from taskrunner.state.worker_name import holding_name, name_is_held, unique_id
from tests.support.killed import run_until_ready_and_kill

HOLD = """
    import sys, pathlib, time
    from taskrunner.state.worker_name import holding_name
    with holding_name(pathlib.Path(sys.argv[1]), sys.argv[2]):
        print("ready", flush=True)
        time.sleep(600)
"""


def test_a_name_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with holding_name(tmp_path, "ci-1"):
        with (
            pytest.raises(ConfigError, match=r"a worker named ci-1 runs on .*worker_id of its own"),
            holding_name(tmp_path, "ci-1"),
        ):
            raise AssertionError
        with holding_name(tmp_path, "ci-2"), holding_name(tmp_path, ""), holding_name(tmp_path, ""):
            pass
    with holding_name(tmp_path, "ci-1"):
        pass


def test_an_error_of_the_block_is_not_taken_for_a_held_name(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), holding_name(tmp_path, "ci-1"):
        raise BlockingIOError


def test_a_killed_worker_holds_no_name(tmp_path: Path) -> None:
    run_until_ready_and_kill(HOLD, tmp_path, "ci-1")
    with holding_name(tmp_path, "ci-1"):
        pass


def test_the_unique_id_begins_with_the_name_and_shows_that_it_is_held(tmp_path: Path) -> None:
    first, second = unique_id("ci"), unique_id("ci")
    assert first != second
    assert first.startswith("ci-")
    lock = WorkerLock(tmp_path, first)
    assert name_is_held(tmp_path, "ci")
    assert not name_is_held(tmp_path, "c")
    assert not name_is_held(tmp_path, first), "which is the beginning of no id"
    lock.abandon()
    assert not name_is_held(tmp_path, "ci")
