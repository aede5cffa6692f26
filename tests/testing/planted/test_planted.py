"""The kit passes honest plugs, and catches nine of ten bugs that are planted in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testing.planted import host_bugs, platform_bugs, queue_bugs, run_bugs, store_bugs, submitter_bugs
from tests.testing.planted.planting import HANGS, Bug, Bugs, failure
from tests.testing.planted.small_host import SmallHostTests
from tests.testing.planted.small_platform import SmallPlatformTests
from tests.testing.planted.small_queue import SmallQueueTests
from tests.testing.planted.small_store import SmallStoreTests

PLANTING = (host_bugs, platform_bugs, queue_bugs, run_bugs, store_bugs, submitter_bugs)
"""The modules that plant bugs when they are imported."""

KINDS = {
    "platform": run_bugs.PLATFORMS,
    "host": host_bugs.HOSTS,
    "queue": queue_bugs.QUEUES,
    "store": store_bugs.STORES,
}

AT_LEAST = {"platform": 25, "host": 16, "queue": 40, "store": 17}
"""How many bugs of each kind there are."""

pytestmark = pytest.mark.filterwarnings("ignore")  # a bug that leaves a file open is reported by a warning


class TestSmallPlatform(SmallPlatformTests):
    pass


class TestSmallHost(SmallHostTests):
    pass


class TestSmallQueue(SmallQueueTests):
    pass


class TestSmallStore(SmallStoreTests):
    pass


CAUGHT = [pytest.param(bugs, bug, id=f"{kind}-{bug.name}") for kind, bugs in KINDS.items() for bug in bugs.caught]


@pytest.mark.parametrize(("bugs", "bug"), CAUGHT)
def test_a_planted_bug_is_caught(bugs: Bugs, bug: Bug, tmp_path: Path) -> None:
    found = failure(bugs, bug, tmp_path / "bug")
    assert found
    assert bool(HANGS.search(found)) is bug.hangs, found


@pytest.mark.parametrize("kind", KINDS)
def test_nine_of_ten_are_caught(kind: str) -> None:
    bugs = KINDS[kind]
    print(f"{kind}: {len(bugs.caught)} of {len(bugs.planted)}")  # noqa: T201  the score, seen with -rP
    assert len(bugs.planted) >= AT_LEAST[kind]
    assert bugs.score >= 0.9, [bug.name for bug in bugs.planted if not bug.caught_by]


@pytest.mark.parametrize("kind", KINDS)
def test_each_bug_cites_the_clause_that_it_breaks(kind: str) -> None:
    for bug in KINDS[kind].planted:
        assert bug.clause
        assert bug.why_not or hasattr(KINDS[kind].tests, bug.caught_by)
