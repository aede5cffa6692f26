"""A type checker holds a platform and its engine to one payload; the examples pass it too, strictly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = Path(__file__).with_name("typing") / "platform_typing.py"
EXAMPLES = sorted({path.parent for path in (ROOT / "examples").rglob("*.py")})


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def found(cache: Path, *files: Path) -> list[str]:
    """What strict mypy says, without the settings of this project: as in a project of the reader's own."""
    said, trouble, _ = api.run(["--strict", "--config-file=", f"--cache-dir={cache}", *map(str, files)])
    assert trouble == ""
    return [line for line in said.splitlines() if not line.startswith("Success")]


def test_a_platform_is_checked_against_its_payload_and_options(cache: Path) -> None:
    assert found(cache, PLATFORMS) == [], "an error that must come did not, or another one came"


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_the_examples_pass_and_cast_nothing(cache: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPYPATH", str(folder))
    files = sorted(folder.glob("*.py"))
    assert found(cache, *files) == []
    assert [path.name for path in files if re.search(r"\bcast\b|: object\b|ClassVar\[type\]", path.read_text())] == []
