"""FakeHost: a host whose notices a test gives."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from taskrunner.interfaces.host import Host, Leave


class FakeHost(Host):
    """A machine in memory. A test calls `leave`, and asserts `is_off`."""

    def __init__(self, config: Mapping[str, Any] | None = None, identity: Mapping[str, str] | None = None) -> None:
        self.config = dict(config or {})
        self.is_off = False
        """Whether the worker has stopped, and has shut the machine down."""
        self._identity = {"host": "fake", **(identity or {})}
        self._notices: asyncio.Queue[Leave] = asyncio.Queue()
        self._last_notice: Leave | None = None

    def leave(self, *, immediate: bool = False, why: str = "the test says so", time_left: float | None = None) -> None:
        """Gives a notice. After an immediate notice, one that is not immediate is ignored."""
        if self._last_notice is not None and self._last_notice.immediate and not immediate:
            return
        self._last_notice = Leave(immediate, why, time_left)
        self._notices.put_nowait(self._last_notice)

    @property
    def identity(self) -> Mapping[str, str]:
        return self._identity

    def load_config(self) -> Mapping[str, Any]:
        return self.config

    async def shutting_down(self) -> Leave:
        return await self._notices.get()

    def should_shutdown_now(self) -> bool:
        return self._last_notice is not None

    async def shut_down(self) -> None:
        self.is_off = True


__all__ = ["FakeHost"]
