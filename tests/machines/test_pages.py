"""The pages about the machines equal the output of their declaration."""

from __future__ import annotations

import pytest

from script.pages import DOCS, MACHINES, diagram, page


@pytest.mark.parametrize("name", MACHINES)
def test_the_page_is_not_stale(name: str) -> None:
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == page(name), "run python script/pages.py"


@pytest.mark.parametrize("name", MACHINES)
def test_the_picture_is_not_stale(name: str) -> None:
    assert (DOCS / f"{name}.svg").read_text(encoding="utf-8") == diagram(name), "run python script/pages.py"
