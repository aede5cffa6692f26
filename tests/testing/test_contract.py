from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest

from taskrunner import errors
from taskrunner.errors import Bug, MalformedPayload, NotSupported, RunLost, TaskFailedInternally, Unavailable
from taskrunner.interfaces.caches import CacheFolder, Caches
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Execution, Input
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.platform import Platform
from taskrunner.interfaces.results import Results
from taskrunner.testing.conformance.contract import INTERFACES, ContractBroken, ContractChecker, may_raise, unwrapped


@pytest.mark.parametrize(
    ("interface", "method", "named"),
    [
        (Engine, "attach_cache", (MalformedPayload, NotSupported)),
        (Engine, "discard", (TaskFailedInternally,)),
        (Execution, "wait", (RunLost, Unavailable, TaskFailedInternally, Bug)),
        (Execution, "stdin", (NotSupported,)),
        (Input, "write", (BrokenPipeError,)),
        (Input, "close", ()),
        (
            Results,
            "archive_file",
            (FileNotFoundError, IsADirectoryError, PermissionError, TaskFailedInternally, Unavailable, RunLost),
        ),
        (Caches, "shared", (MalformedPayload, TaskFailedInternally)),
        (Log, "say", (TaskFailedInternally,)),
        (Platform, "health", ()),
        (Platform, "dispose", ()),
        (Host, "shutting_down", ()),
        (CacheFolder, "delete", ()),
    ],
)
def test_the_docstring_names_what_may_be_raised(interface: type, method: str, named: tuple[type, ...]) -> None:
    assert may_raise(interface, method) == named


@pytest.mark.parametrize("interface", INTERFACES)
def test_every_error_that_an_interface_names_exists(interface: type) -> None:
    known = {name for name in dir(errors) if isinstance(getattr(errors, name), type)}
    for name, member in vars(interface).items():
        _, _, raises = (inspect.getdoc(member) or "").partition("Raises: ")
        first = raises.partition(" ")[0].rstrip(",.")
        if first and not name.startswith("__"):
            assert first in known or isinstance(may_raise(interface, name)[0], type), f"{name} raises {first}?"


class Reader:
    """An interface."""

    async def fetch(self) -> str:
        """Raises: Unavailable."""
        return ""

    def stream(self) -> AsyncIterator[bytes]:
        """Raises: Unavailable."""
        raise NotImplementedError


class FaultyReader(Reader):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def fetch(self) -> str:
        raise self.error

    async def stream(self) -> AsyncIterator[bytes]:
        yield b"first"
        raise self.error


async def drained(reader: Reader) -> list[bytes]:
    return [chunk async for chunk in reader.stream()]


def test_an_error_that_is_named_is_raised() -> None:
    reader = ContractChecker().wrap(FaultyReader(Unavailable("later")), Reader)
    with pytest.raises(Unavailable):
        asyncio.run(reader.fetch())
    with pytest.raises(Unavailable):
        asyncio.run(drained(reader))


def test_an_error_that_is_not_named_breaks_the_contract() -> None:
    reader = ContractChecker().wrap(FaultyReader(KeyError("image")), Reader)
    says = r"FaultyReader.fetch raised KeyError: 'image'\n.*Reader.fetch names Unavailable"
    with pytest.raises(ContractBroken, match=says):
        asyncio.run(reader.fetch())
    with pytest.raises(ContractBroken, match=r"FaultyReader.stream raised KeyError"):
        asyncio.run(drained(reader))


def test_a_cancellation_breaks_no_contract() -> None:
    reader = ContractChecker().wrap(FaultyReader(asyncio.CancelledError()), Reader)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(reader.fetch())


def test_a_plugin_has_one_proxy() -> None:
    checker, reader = ContractChecker(), FaultyReader(KeyError())
    assert checker.wrap(reader, Reader) is checker.wrap(reader, Reader)
    assert unwrapped(checker.wrap(reader, Reader)) is reader
