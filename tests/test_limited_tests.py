"""The limit of each test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CONFTEST = """\
from tests.support import limited_tests
from tests.support.limited_tests import pytest_runtest_protocol

limited_tests.LIMIT, limited_tests.AGAIN = 0.5, AGAIN
"""
TESTS = """\
import asyncio
import threading

import pytest


@pytest.fixture
def hung():
    yield
    threading.Event().wait()


def test_that_waits(): threading.Event().wait()
def test_that_awaits(): asyncio.run(asyncio.Event().wait())
def test_whose_fixture_waits(hung): pass
def test_after_them(): pass
"""


STUBBORN = """\
import threading


def test_that_goes_on():
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass
"""


def run_tests(folder: Path, tests: str, again: float) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.replace("0.5, AGAIN", f"0.5, {again}"))
    (folder / "test_them.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    environment = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_test_that_waits_for_ever_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    ended = run_tests(tmp_path, TESTS, again=60)
    assert "2 failed, 2 passed, 1 error" in ended.stdout, ended.stdout
    assert ended.stdout.count("the test did not end within 0.5 s") >= 3


def test_a_test_that_goes_on_ends_its_process_and_is_named(tmp_path: Path) -> None:
    ended = run_tests(tmp_path, STUBBORN, again=0.5)
    assert ended.returncode == 3
    assert "test_them.py::test_that_goes_on did not end" in ended.stderr
    assert "in test_that_goes_on" in ended.stderr
