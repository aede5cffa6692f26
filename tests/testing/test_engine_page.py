"""The numbers on the page about engines are those of the worker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from taskrunner.runs import platforms, resources, run
from taskrunner.testing import PlatformConformance
from taskrunner.testing.conformance.platform.harness import Option
from tests.docker import test_docker_conformance
from tests.process import test_process_conformance

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "engines.md").read_text()
PAGE = " ".join(TEXT.split())


def test_the_limits_of_calls() -> None:
    assert f"is released at the end of the run, within {resources.RELEASE_LIMIT:g} seconds" in PAGE
    assert (
        f"`open` {platforms.OPEN_LIMIT:g} seconds, `health` {platforms.HEALTH_LIMIT:g}, "
        f"`clean_up_after` {platforms.CLEAN_UP_LIMIT:g}, `dispose` {platforms.DISPOSE_LIMIT:g}"
    ) in PAGE
    assert "artifacts, `deliver` and the report share an hour" in PAGE
    assert run.UPLOAD_LIMIT == 3600


def test_the_delay_of_a_run_that_is_handed_back() -> None:
    assert "offered again after ten seconds" in PAGE
    assert run.REJECT_DELAY == 10


def test_the_optional_operations_and_the_platforms_that_have_them() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*?\|.*?\|(.*)\|$", TEXT.partition("| word | operation")[2], re.MULTILINE))
    assert sorted(rows) == sorted(get_args(Option))
    for column, kit in enumerate((test_process_conformance.OnOneKind, test_docker_conformance.TestContainers)):
        marked = {word for word, cells in rows.items() if cells.split("|")[column].strip() == "yes"}
        assert marked == kit.supports, kit.__name__


def test_the_number_of_tests() -> None:
    assert "some hundred tests" in PAGE
    assert 95 <= sum(name.startswith("test_") for name in dir(PlatformConformance)) < 120
