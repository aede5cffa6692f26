"""The numbers on the page about engines are those of the worker."""

from __future__ import annotations

from pathlib import Path

from taskrunner.testing import PlatformConformance
from taskrunner.worker import platforms, resources, run

PAGE = " ".join((Path(__file__).resolve().parents[2] / "docs" / "engines.md").read_text().split())


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


def test_the_number_of_tests() -> None:
    assert "some forty tests" in PAGE
    assert 35 <= sum(name.startswith("test_") for name in dir(PlatformConformance)) < 45
