"""HostConformance: what every host does. The author of a host runs it::

    class TestMyHost(HostConformance):
        def host(self):
            return MyHost(self.metadata.url)

        def notify(self, host):
            self.metadata.say("TERMINATE")

A host may poll: then `settle` is a little longer than its interval.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import pytest

from taskrunner.errors import ConfigError, NotSupported
from taskrunner.interfaces.host import Host, Leave
from taskrunner.testing.conformance.cancellation import cancelled_at_wait
from taskrunner.testing.conformance.contract import unwrapped
from taskrunner.testing.conformance.kit import ConformanceKit

MOMENTS = 10
"""Moments at which a wait is cancelled: each is one more chance to lose a notice."""


class HostConformance(ConformanceKit, ABC):
    """The contract of Host. No notice may be lost, and none comes twice."""

    limit: ClassVar[float] = 30.0
    settle: ClassVar[float] = 0.05
    """Seconds after which the host has seen a change: a host that polls does so every few seconds."""
    can_shut_down: ClassVar[bool] = False
    """Whether a test may call `shut_down`, which turns a machine off."""

    @abstractmethod
    def host(self) -> Host:
        """A host with a valid configuration, which has no notice yet. Called on the running loop."""

    @abstractmethod
    def notify(self, host: Host) -> Leave | None:
        """Causes a notice that the worker must stop: sends the signal, changes the answer of the metadata service.
        Returns what must arrive, if that is known; its `why` may be another text."""

    def notify_again(self, host: Host) -> None:  # noqa: ARG002  a hook
        """Causes one more notice, which is immediate and comes after that of `notify`. By default there is none."""
        raise NotSupported("this host has one notice")

    def host_without_configuration(self) -> Host:
        """A host whose configuration is missing or broken. By default that cannot be."""
        raise NotSupported("this host always has a configuration")

    # ---- identity and configuration ---------------------------------------------------------------------

    def test_it_has_an_identity(self) -> None:
        async def main(host: Host) -> None:
            assert host.identity["host"]
            assert all(isinstance(word, str) for pair in host.identity.items() for word in pair)
            assert dict(host.identity) == dict(host.identity), "the labels of a machine stay the same"

        self._check(main)

    def test_it_has_a_configuration(self) -> None:
        async def main(host: Host) -> None:
            config = await asyncio.to_thread(host.load_config)
            _assert_plain(config, "the configuration")
            assert "host" not in config, "the host has been chosen by then"

        self._check(main)

    def test_a_configuration_that_cannot_be_loaded_is_a_config_error(self) -> None:
        async def main(_: Host) -> None:
            try:
                broken = self.host_without_configuration()
            except NotSupported:
                return
            with pytest.raises(ConfigError):
                await asyncio.to_thread(self.checker.wrap(broken, Host).load_config)

        self._check(main)

    # ---- notices ----------------------------------------------------------------------------------------

    def test_without_a_notice_the_worker_stays(self) -> None:
        async def main(host: Host) -> None:
            notice = asyncio.ensure_future(host.shutting_down())
            await self._settled()
            assert not notice.done()
            assert host.should_shutdown_now() is False
            await _cancel(notice)

        self._check(main)

    def test_a_notice_comes(self) -> None:
        async def main(host: Host) -> None:
            notice = asyncio.ensure_future(host.shutting_down())
            await asyncio.sleep(0)
            _assert_notice(await self._notified(host, notice), self._expected)

        self._check(main)

    def test_a_notice_before_the_first_wait_is_kept(self) -> None:
        async def main(host: Host) -> None:
            self._notify(host)
            await self._settled()
            _assert_notice(await host.shutting_down(), self._expected)

        self._check(main)

    def test_whether_a_notice_has_arrived_is_known_from_then_on(self) -> None:
        async def main(host: Host) -> None:
            if type(unwrapped(host)).should_shutdown_now is Host.should_shutdown_now:
                return
            self._notify(host)
            await host.shutting_down()
            assert host.should_shutdown_now() is True, "a notice has arrived"
            await self._settled()
            assert host.should_shutdown_now() is True, "a notice that was given to the worker has still arrived"

        self._check(main)

    def test_a_notice_comes_once(self) -> None:
        async def main(host: Host) -> None:
            self._notify(host)
            await host.shutting_down()
            after = asyncio.ensure_future(host.shutting_down())
            await self._settled()
            assert not after.done(), "the next call waits for the next notice"
            await _cancel(after)

        self._check(main)

    def test_a_later_notice_comes_and_is_more_urgent(self) -> None:
        async def main(host: Host) -> None:
            self._notify(host)
            await host.shutting_down()
            await self._assert_more_urgent(host, host.shutting_down())

        self._check(main)

    def test_a_later_notice_that_nobody_waits_for_is_kept(self) -> None:
        async def main(host: Host) -> None:
            self._notify(host)
            await host.shutting_down()
            await self._assert_more_urgent(host, None)

        self._check(main)

    async def _assert_more_urgent(self, host: Host, waiting: Awaitable[Leave] | None) -> None:
        notice = asyncio.ensure_future(waiting) if waiting else None
        await asyncio.sleep(0)
        try:
            self.notify_again(unwrapped(host))
        except NotSupported:
            if notice:
                await _cancel(notice)
            return
        await self._settled()
        _assert_notice(await (notice or host.shutting_down()), Leave(immediate=True, why=""))
        self._notify(host)  # it has no effect any more, or is as urgent
        after = asyncio.ensure_future(host.shutting_down())
        await self._settled()
        assert not after.done() or after.result().immediate, "a later notice may only be more urgent"
        await _cancel(after)

    def test_cancelling_loses_no_notice(self) -> None:
        for moment in range(MOMENTS):
            self._check(partial(self._cancelled_after_turns, moment))
            self._check(partial(self._cancelled_at_a_wait, moment))

    async def _cancelled_after_turns(self, turns: int, host: Host) -> None:
        before = asyncio.ensure_future(host.shutting_down())
        await asyncio.sleep(0)
        await _cancel(before)
        during = asyncio.ensure_future(host.shutting_down())
        await asyncio.sleep(0)
        self._notify(host)
        for _ in range(turns):
            await asyncio.sleep(0)
        await _cancel(during)
        _assert_notice(during.result() if not during.cancelled() else await host.shutting_down(), self._expected)

    async def _cancelled_at_a_wait(self, number: int, host: Host) -> None:
        """The call is cancelled when it waits for the n-th time after the notice."""
        self._notify(host)
        during = asyncio.ensure_future(cancelled_at_wait(host.shutting_down(), number))
        await asyncio.wait([during])
        _assert_notice(during.result() if not during.cancelled() else await host.shutting_down(), self._expected)

    def test_a_service_that_is_down_gives_no_notice_and_no_error(self) -> None:
        async def main(host: Host) -> None:
            waiting = asyncio.ensure_future(host.shutting_down())
            await asyncio.sleep(0)
            if not await self.is_down():
                await _cancel(waiting)
                return
            await self._settled()
            assert not waiting.done(), "a service that does not answer is no notice, and no error"
            assert host.should_shutdown_now() is False
            await self.bring_back()
            self._notify(host)
            _assert_notice(await waiting, self._expected)

        self._check(main)

    def test_it_shuts_down(self) -> None:
        async def main(host: Host) -> None:
            if self.can_shut_down:
                self._notify(host)
                await host.shutting_down()
                await host.shut_down()

        self._check(main)

    # ---- for the tests ----------------------------------------------------------------------------------

    _expected: Leave | None = None

    def _check(self, main: Callable[[Host], Awaitable[None]]) -> None:
        async def with_host() -> None:
            await main(self.checker.wrap(self.host(), Host))

        self.bounded(with_host())

    def _notify(self, host: Host) -> None:
        self._expected = self.notify(unwrapped(host))

    async def _notified(self, host: Host, notice: Awaitable[Leave]) -> Leave:
        self._notify(host)
        return await notice

    async def _settled(self) -> None:
        for _ in range(MOMENTS):
            await asyncio.sleep(0)
        await asyncio.sleep(self.settle)


def _assert_notice(leave: Leave, expected: Leave | None) -> None:
    assert isinstance(leave, Leave)
    assert isinstance(leave.immediate, bool)
    assert isinstance(leave.why, str)
    assert leave.why, "a notice says why, for the log"
    assert leave.time_left is None or leave.time_left >= 0
    if expected:
        assert leave.immediate is expected.immediate
    if expected and expected.time_left is not None:
        assert leave.time_left is not None, "the host knows how much time is left"
        assert leave.time_left <= expected.time_left, "seconds from now until the machine stops"


def _assert_plain(value: Any, place: str) -> None:
    """A nested mapping as TOML has it."""
    if place == "the configuration":
        assert isinstance(value, Mapping)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            assert isinstance(key, str), f"a key of {place} is {key!r}"
            _assert_plain(inner, f"{place}, {key}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _assert_plain(inner, place)
    else:
        assert value is None or isinstance(value, (str, bool, int, float)), f"{place} has {type(value).__name__}"


async def _cancel(task: asyncio.Future[Leave]) -> None:
    task.cancel()
    await asyncio.wait([task])


__all__ = ["HostConformance"]
