"""ConformanceKit: what all classes of the kit share. A limit of time, checked calls, a service that can be down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from taskrunner.errors import NotSupported
from taskrunner.testing.conformance.blocking_calls import blocking_calls
from taskrunner.testing.conformance.contract import ContractChecker
from taskrunner.testing.conformance.time_limit import TimeLimit

K = TypeVar("K", bound="ConformanceKit")


class ConformanceKit:
    """Runs each test in its limit of time."""

    limit: ClassVar[float] = 120.0
    """Seconds that one test may take. Only a defect takes so long: the test fails, with the contract of the call that
    it waits for."""

    is_conformance_kit: ClassVar[bool] = True

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Runs a test to its end. A plugin without processes, files and sockets may use `clock.run` instead."""
        asyncio.run(main)

    async def take_down(self) -> None:
        """Makes the service behind the plugin unreachable: stops the server, closes its port. By default there is no
        service, and the tests that need one are left out."""
        raise NotSupported("there is no service that could be down")

    async def bring_back(self) -> None:
        """Ends what `take_down` did."""

    # ---- for the tests ----------------------------------------------------------------------------------

    @cached_property
    def checker(self) -> ContractChecker:
        """Wraps the plugins of this test."""
        return ContractChecker()

    def bounded(self, main: Coroutine[Any, Any, None]) -> None:
        """Runs a test in its limit of time, and fails it if a plugin blocks the loop."""
        limit = TimeLimit(self.limit, self.checker.pending_calls)
        with limit.interrupting(), blocking_calls() as blocking:
            self.run(limit.hold(main))
        assert blocking == [], "the event loop of the worker was blocked"

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Fails a test whose block takes longer, with the contracts of the calls that it waits for."""
        waits_for: list[str] = []
        look = asyncio.get_running_loop().call_later(  # a moment before the calls are cancelled
            seconds * 0.999, lambda: waits_for.append(self.checker.pending_calls())
        )
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            pytest.fail("\n".join([f"nothing has happened for {seconds:g} s", *waits_for]))
        finally:
            look.cancel()

    async def is_down(self) -> bool:
        """Takes the service down. False: there is none."""
        try:
            await self.take_down()
        except NotSupported:
            return False
        return True


def scenario(test: Callable[[K], Coroutine[Any, Any, None]]) -> Callable[[K], None]:
    """Makes a test for pytest of a coroutine function."""

    @wraps(test)
    def run(kit: K) -> None:
        kit.bounded(test(kit))

    return run


def scenario_in_folder(test: Callable[[K, Path], Coroutine[Any, Any, None]]) -> Callable[[K, Path], None]:
    """The same, with a folder of its own."""

    def run(self: K, tmp_path: Path) -> None:
        self.bounded(test(self, tmp_path))

    run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
    return run


__all__ = ["ConformanceKit", "scenario", "scenario_in_folder"]
