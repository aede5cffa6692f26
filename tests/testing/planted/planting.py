"""Bugs planted in small honest plugs, and which test of the kit catches each."""

from __future__ import annotations

import asyncio
import gc
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs
import pytest

T = TypeVar("T", bound=type)

LIMIT = 0.5
"""Seconds of a test that hangs. Others have the limit of the kit: a slow machine must not seem to catch a bug."""

HANGS = re.compile(r"did not end within|nothing has happened for|Deadlock")
"""What a test says that was ended by a limit of time."""


@attrs.frozen
class Bug:
    """A plug that breaks one clause of its contract, which its docstring cites."""

    plug: type
    caught_by: str
    why_not: str
    hangs: bool
    """Whether the test ends by its limit of time."""

    @property
    def name(self) -> str:
        return self.plug.__name__

    @property
    def clause(self) -> str:
        return inspect.getdoc(self.plug) or ""


class Bugs:
    """The bugs of one kind of plug. `tests` is the class of the kit that catches them, with a member `plug`."""

    def __init__(self, tests: type, *, virtual: bool = False) -> None:
        """`virtual`: the tests run in virtual time, so that one that hangs ends at once, without another limit."""
        self.tests = tests
        self.virtual = virtual
        self.planted: list[Bug] = []

    def caught_by(self, test: str, *, hangs: bool = False) -> Callable[[T], T]:
        return lambda plug: self._plant(plug, test, "", hangs=hangs)

    def not_caught(self, why: str) -> Callable[[T], T]:
        return lambda plug: self._plant(plug, "", why)

    def _plant(self, plug: T, test: str, why: str, *, hangs: bool = False) -> T:
        self.planted.append(Bug(plug, test, why, hangs))
        return plug

    @property
    def caught(self) -> list[Bug]:
        return [bug for bug in self.planted if bug.caught_by]

    @property
    def score(self) -> float:
        return len(self.caught) / len(self.planted)


def failure(bugs: Bugs, bug: Bug, folder: Path) -> str:
    """How the test of the kit that is for this bug fails; empty when it passes."""
    members = {"plug": bug.plug} | ({"limit": LIMIT} if bug.hangs and not bugs.virtual else {})
    return failure_of(type(bugs.tests.__name__, (bugs.tests,), members), bug.caught_by, folder)


def failure_of(tests: type, name: str, folder: Path) -> str:
    folder.mkdir(parents=True)
    case = tests()
    case.begin(folder)
    try:
        method, arguments = getattr(case, name), {"tmp_path": folder / "tmp"}
        arguments["tmp_path"].mkdir()
        method(**{key: value for key, value in arguments.items() if key in inspect.signature(method).parameters})
    except (Exception, pytest.fail.Exception, asyncio.CancelledError) as error:  # noqa: BLE001  any failure is one
        return f"{type(error).__name__}: {error}"
    finally:
        case.end()
        gc.collect()  # what the bug left open is reported now, and not in the next test
    return ""
