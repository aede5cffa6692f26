"""The platforms of one worker: opened at the first task that asks for one, and disposed of at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import attrs

from taskrunner.config.plugins import PayloadClasses
from taskrunner.errors import Complaint, MalformedPayload, Unavailable
from taskrunner.interfaces.platform import HEALTHY, Platform, PlatformContext
from taskrunner.model import Health

OPEN_LIMIT = 60.0
"""Seconds that a platform may take to open. A container engine that is just starting needs tens of them."""


@attrs.define
class Platforms:
    """Platform classes by name, and those of them that are open. A platform that is never asked for costs nothing."""

    classes: Mapping[str, type[Platform]]
    context: PlatformContext
    options: Callable[[type[Platform]], object] = lambda platform: platform.options()
    """Gives the decoded configuration of a platform. May raise ConfigError."""
    promised: frozenset[str] = frozenset()
    """Those that the operator says are here, by a table in the configuration. While one cannot be opened, the machine
    is not fit to take work; a run that needs another, which is not here, cannot be helped by waiting."""
    open_ones: dict[str, Platform] = attrs.field(factory=dict)
    _opening: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    @property
    def payloads(self) -> Mapping[str, type]:
        """Their payload classes by name; a platform is loaded when its class is taken."""
        return PayloadClasses(self.classes)

    async def get(self, name: str) -> Platform:
        """The open platform of that name. Two who ask at once get the same.

        Raises: MalformedPayload (there is none), ConfigError, Unavailable.
        """
        async with self._opening:
            if name not in self.open_ones:
                self.open_ones[name] = await self._open(name)
            return self.open_ones[name]

    async def _open(self, name: str) -> Platform:
        platform = self.classes.get(name)
        if platform is None:
            known = ", ".join(sorted(self.classes)) or "none"
            raise MalformedPayload(Complaint("platform", f"this worker has no {name!r} platform", f"it has: {known}"))
        try:
            async with asyncio.timeout(OPEN_LIMIT):
                return await platform.open(self.options(platform), self.context)
        except TimeoutError:
            raise Unavailable(f"the {name} platform did not open within {OPEN_LIMIT:g} s") from None

    async def health(self) -> Health:
        """That of the first platform that is promised or open and not fit, or a good one."""
        for name in sorted(self.promised - set(self.open_ones)):
            try:
                await self.get(name)
            except Unavailable as unavailable:
                return Health(fit=False, why=unavailable.message)
        for platform in self.open_ones.values():
            health = await platform.health()
            if not health.fit:
                return health
        return HEALTHY

    async def clean_up_after(self, worker_id: str, names: Iterable[str]) -> list[str]:
        """Has these platforms remove what a dead worker left. Raises what `get` and the platforms raise."""
        found = []
        for name in names:
            platform = await self.get(name)
            found += await platform.clean_up_after(worker_id)
        return found

    async def dispose(self) -> None:
        for platform in self.open_ones.values():
            await platform.dispose()
        self.open_ones.clear()
