"""A host with a metadata service, written from the documentation alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from taskrunner import ConfigError, Host, Leave
from taskrunner.testing import HostConformance
from tests.testing.planted.planting import Bugs

INTERVAL = 0.005
"""Seconds between two looks at the service."""


@attrs.define
class Service:
    """What a cloud knows of a machine."""

    config: Mapping[str, Any] | None = attrs.field(factory=lambda: {"capacity": 2, "process": {"niceness": 5}})
    notices: list[Leave] = attrs.field(factory=list)
    is_down: bool = False
    is_off: bool = False

    def answer(self) -> list[Leave]:
        if self.is_down:
            raise ConnectionRefusedError("the metadata service is down")
        return list(self.notices)


class SmallHost(Host):
    """Polls its service. A notice was given once `given` counts it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.given = 0
        self.last: Leave | None = None

    @property
    def identity(self) -> Mapping[str, str]:
        return {"host": "small-1", "zone": "b"}

    def load_config(self) -> Mapping[str, Any]:
        if self.service.config is None:
            raise ConfigError("the metadata has no key `taskrunner`: add it")
        return self.service.config

    async def shutting_down(self) -> Leave:
        while (notice := self.look()) is None:
            await self.pause()
        return notice

    async def pause(self) -> None:
        await asyncio.sleep(INTERVAL)

    def look(self) -> Leave | None:
        for notice in self.notices()[self.given :]:
            self.given += 1
            if self.is_more_urgent(notice):
                self.last = notice
                return notice
        return None

    def notices(self) -> list[Leave]:
        try:
            return self.service.answer()
        except OSError:
            return []

    def is_more_urgent(self, notice: Leave) -> bool:
        return self.last is None or (notice.immediate and not self.last.immediate)

    def should_shutdown_now(self) -> bool:
        return self.last is not None or bool(self.notices())

    async def shut_down(self) -> None:
        self.service.is_off = True


class SmallHostTests(HostConformance):
    plug: ClassVar[type[SmallHost]] = SmallHost
    settle = 0.03
    can_shut_down = True

    @pytest.fixture(autouse=True)
    def _begin(self, tmp_path: Path) -> None:
        self.begin(tmp_path)

    def begin(self, folder: Path) -> None:
        self.service = Service()

    def end(self) -> None:
        pass

    def host(self) -> SmallHost:
        self.service = Service()
        return self.plug(self.service)

    def host_without_configuration(self) -> SmallHost:
        return self.plug(Service(config=None))

    def notify(self, host: Host) -> Leave:
        self.service.notices.append(Leave(immediate=False, why="spot interruption at 12:03", time_left=120))
        return self.service.notices[-1]

    def notify_again(self, host: Host) -> None:
        self.service.notices.append(Leave(immediate=True, why="the machine stops", time_left=2))

    async def take_down(self) -> None:
        self.service.is_down = True

    async def bring_back(self) -> None:
        self.service.is_down = False


HOSTS = Bugs(SmallHostTests)
