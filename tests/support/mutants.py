"""Runs the tests of a contract on an implementation with one fault."""

from __future__ import annotations

import asyncio
import fnmatch
from pathlib import Path
from typing import Any

import pytest

Mutant = tuple[type, str, Any, str]
"""A class, its member, the faulty member that replaces it, and a test that must fail."""


def failures(tests: type, folder: Path, pattern: str = "test_*") -> set[str]:
    """The tests of a class that fail when they run one after the other, as in pytest."""
    return {name for name in fnmatch.filter(dir(tests), pattern) if fails(tests(), name, folder / name)}


def fails(case: Any, name: str, folder: Path) -> bool:
    getattr(case, "setup_method", lambda: None)()
    folder.mkdir()
    method = getattr(case, name)
    try:
        method(*[folder] * (method.__code__.co_argcount - 1))
    except (Exception, pytest.fail.Exception, asyncio.CancelledError):  # noqa: BLE001  any failure is one
        return True
    return False


def assert_caught(tests: type, mutant: Mutant, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    target, member, fault, caught_by = mutant
    monkeypatch.setattr(target, member, fault)
    assert failures(tests, folder, caught_by)


def name_of(mutant: Mutant) -> str:
    return f"{mutant[0].__name__}.{mutant[1]}-{mutant[3]}"
