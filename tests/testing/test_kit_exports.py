"""The public names of the kit, and what they need: the library and pytest, and no more."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from taskrunner import testing

EXTRAS = ("freezegun", "docker", "dulwich", "h2", "boto3")


def run(code: str, *, without: tuple[str, ...], folder: Path) -> str:
    """What a new interpreter prints in which some modules cannot be imported."""
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({list(without)!r}))\n"
    command = [sys.executable, "-W", "error", "-c", blocked + textwrap.dedent(code)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", testing.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(testing, name) is not None


def test_the_public_names_are_those_with_a_module() -> None:
    assert sorted([*testing._HOMES, "clock"]) == testing.__all__


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="FakeNews"):
        _ = testing.FakeNews  # type: ignore[attr-defined]


def test_the_fakes_do_not_need_pytest(tmp_path: Path) -> None:
    code = """
        from taskrunner.testing import FakeCaches, FakeHost, FakePayload, FakePlatform, MemoryLog, MemoryStore, clock
        print(FakePlatform().alive)
    """
    assert run(code, without=(*EXTRAS, "pytest"), folder=tmp_path) == "[]"


def test_the_example_of_the_package_needs_pytest_alone(tmp_path: Path) -> None:
    """The example is in the docstring of the package."""
    example = textwrap.dedent(str(testing.__doc__).partition("::\n")[2].partition("\n- Fakes")[0])
    code = """
from pathlib import Path
from taskrunner.config.config import Config
from taskrunner.model import Submission
from taskrunner.queues.memory import MemoryQueue
from taskrunner.worker.start import services
from taskrunner.testing import *
from taskrunner.worker.stop_condition import StopCondition
from taskrunner.worker.worker import Worker
{}
test_nine_hours(Path.cwd())
print("passed")
"""
    assert run(code.format(example), without=EXTRAS, folder=tmp_path) == "passed"
