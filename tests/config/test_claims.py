"""The pages on security and recovery name a test for each claim: it exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("security.md", "recovery.md")


def all_tests() -> set[str]:
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "taskrunner/testing/conformance").glob("*.py")]
    return {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text())}


@pytest.mark.parametrize("page", PAGES)
def test_each_test_that_a_page_names_exists(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / page).read_text()))
    assert len(named) > 10
    assert named - all_tests() == set()


@pytest.mark.parametrize("page", PAGES)
def test_each_line_of_a_table_of_claims_names_a_test(page: str) -> None:
    tables = re.findall(r"(?m)^\|.*\btest \|\n\|[-|]+\|\n((?:\|.*\n)+)", (ROOT / "docs" / page).read_text())
    lines = [line for table in tables for line in table.splitlines()]
    assert lines
    assert [line for line in lines if "test_" not in line and "as for" not in line] == []
