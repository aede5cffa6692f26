from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest

from taskrunner import errors
from taskrunner.errors import Bug, MalformedPayload, NotSupported, TaskFailedInternally, Unavailable
from taskrunner.interfaces.caches import CacheFolder, Caches
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Execution, Input
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.platform import Platform
from taskrunner.interfaces.results import Results
from taskrunner.testing.conformance.contract import WATCHED, ContractBroken, Watcher, may_raise, unwatched


@pytest.mark.parametrize(
    ("interface", "method", "named"),
    [
        (Engine, "attach_cache", (MalformedPayload, NotSupported)),
        (Engine, "discard", (TaskFailedInternally,)),
        (Execution, "wait", (TaskFailedInternally, Unavailable, Bug)),
        (Execution, "stdin", (NotSupported,)),
        (Input, "write", (BrokenPipeError,)),
        (Input, "close", ()),
        (Results, "archive_file", (FileNotFoundError, IsADirectoryError, PermissionError, TaskFailedInternally)),
        (Caches, "shared", (MalformedPayload, TaskFailedInternally)),
        (Log, "say", (TaskFailedInternally,)),
        (Platform, "health", ()),
        (Platform, "dispose", ()),
        (Host, "shutting_down", ()),
        (CacheFolder, "delete", ()),
    ],
)
def test_the_words_say_what_may_be_raised(interface: type, method: str, named: tuple[type, ...]) -> None:
    assert may_raise(interface, method) == named


@pytest.mark.parametrize("interface", WATCHED)
def test_every_error_that_an_interface_names_exists(interface: type) -> None:
    known = {name for name in dir(errors) if isinstance(getattr(errors, name), type)}
    for name, member in vars(interface).items():
        _, _, raises = (inspect.getdoc(member) or "").partition("Raises: ")
        first = raises.partition(" ")[0].rstrip(",.")
        if first and not name.startswith("__"):
            assert first in known or isinstance(may_raise(interface, name)[0], type), f"{name} raises {first}?"


class Plug:
    """An interface."""

    async def fetch(self) -> str:
        """Raises: Unavailable."""
        return ""

    def stream(self) -> AsyncIterator[bytes]:
        """Raises: Unavailable."""
        raise NotImplementedError


class Faulty(Plug):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def fetch(self) -> str:
        raise self.error

    async def stream(self) -> AsyncIterator[bytes]:
        yield b"first"
        raise self.error


async def drained(plug: Plug) -> list[bytes]:
    return [chunk async for chunk in plug.stream()]


def test_what_is_named_passes() -> None:
    plug = Watcher().watch(Faulty(Unavailable("later")), Plug)
    with pytest.raises(Unavailable):
        asyncio.run(plug.fetch())
    with pytest.raises(Unavailable):
        asyncio.run(drained(plug))


def test_what_is_not_named_breaks_the_contract() -> None:
    plug = Watcher().watch(Faulty(KeyError("image")), Plug)
    with pytest.raises(ContractBroken, match=r"Faulty.fetch raised KeyError: 'image'\n.*Plug.fetch names Unavailable"):
        asyncio.run(plug.fetch())
    with pytest.raises(ContractBroken, match=r"Faulty.stream raised KeyError"):
        asyncio.run(drained(plug))


def test_a_cancellation_is_nobodys_fault() -> None:
    plug = Watcher().watch(Faulty(asyncio.CancelledError()), Plug)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(plug.fetch())


def test_the_same_plug_is_watched_by_the_same_watcher_once() -> None:
    watcher, plug = Watcher(), Faulty(KeyError())
    assert watcher.watch(plug, Plug) is watcher.watch(plug, Plug)
    assert unwatched(watcher.watch(plug, Plug)) is plug
