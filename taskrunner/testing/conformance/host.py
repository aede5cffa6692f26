"""HostConformance: what every host does, but for turning the machine off."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from taskrunner.interfaces.host import Host, Leave
from taskrunner.testing.conformance.contract import ContractChecker, unwrapped

LIMIT = 30.0
"""Seconds until a notice must have arrived: a host that polls does so every few seconds."""


class HostConformance(ABC):
    """The contract of Host. No notice may be lost."""

    @abstractmethod
    def host(self) -> Host:
        """A host with a valid configuration. Called on the running loop, once in each test."""

    @abstractmethod
    def notify(self, host: Host) -> None:
        """Causes a notice that the worker must go: sends the signal, changes the answer of the metadata service."""

    def test_it_has_an_identity(self) -> None:
        async def main(host: Host) -> None:
            assert "host" in host.identity
            assert all(isinstance(word, str) for pair in host.identity.items() for word in pair)

        self._run(main)

    def test_it_has_a_configuration(self) -> None:
        async def main(host: Host) -> None:
            assert isinstance(host.load_config(), Mapping)

        self._run(main)

    def test_without_a_notice_the_worker_stays(self) -> None:
        async def main(host: Host) -> None:
            notice = asyncio.create_task(host.shutting_down())
            for _ in range(10):
                await asyncio.sleep(0)
            assert not notice.done()
            assert not host.should_shutdown_now()
            await _cancel(notice)

        self._run(main)

    def test_a_notice_comes(self) -> None:
        async def main(host: Host) -> None:
            notice = asyncio.create_task(host.shutting_down())
            await asyncio.sleep(0)
            self.notify(unwrapped(host))
            _check(await notice)

        self._run(main)

    def test_a_notice_before_the_first_wait_is_kept(self) -> None:
        async def main(host: Host) -> None:
            self.notify(unwrapped(host))
            _check(await host.shutting_down())

        self._run(main)

    def test_cancelling_loses_no_notice(self) -> None:
        async def main(host: Host) -> None:
            before = asyncio.create_task(host.shutting_down())
            await asyncio.sleep(0)
            await _cancel(before)
            during = asyncio.create_task(host.shutting_down())
            await asyncio.sleep(0)
            self.notify(unwrapped(host))
            await _cancel(during)
            _check(during.result() if not during.cancelled() else await host.shutting_down())

        self._run(main)

    def _run(self, main: Callable[[Host], Coroutine[Any, Any, None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(LIMIT):
                await main(ContractChecker().wrap(self.host(), Host))

        asyncio.run(bounded())


def _check(leave: Leave) -> None:
    assert leave.why, "a notice says why, for the log"
    assert leave.time_left is None or leave.time_left >= 0


async def _cancel(task: asyncio.Task[Leave]) -> None:
    task.cancel()
    await asyncio.wait([task])


__all__ = ["HostConformance"]
