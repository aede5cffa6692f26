"""The records of builds in a home, which outlive their workers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from taskrunner.queues.launcher import record as subject
from taskrunner.queues.launcher.build_state import BuildState
from taskrunner.queues.launcher.record import BuildRecord, KeptBuild


def record(home: Path, build_id: str, age: int) -> BuildRecord:
    """Of a build that has ended."""
    made = BuildRecord(home / "launcher" / f"{build_id}.json")
    asyncio.run(made.save(KeptBuild(BuildState("success"), ("one",), log_sent=True)))
    os.utime(made.path, (1_000_000 - age, 1_000_000 - age))
    return made


def test_a_home_keeps_the_newest_records_and_the_one_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "MOST", 3)
    mine, *_ = [record(tmp_path, f"b-{age}", age) for age in (5, 4, 3, 2, 1)]
    (tmp_path / "launcher" / "b-9.json.77.new").touch()  # of a worker that died while it wrote
    os.utime(tmp_path / "launcher" / "b-9.json.77.new", (0, 0))
    assert asyncio.run(mine.load()) == KeptBuild(BuildState("success"), ("one",), log_sent=True)
    left = sorted(path.name for path in (tmp_path / "launcher").iterdir())
    assert left == ["b-1.json", "b-2.json", "b-5.json"]


def test_a_home_without_records_has_a_new_build(tmp_path: Path) -> None:
    assert asyncio.run(BuildRecord(tmp_path / "launcher" / "b.json").load()) == KeptBuild()
