"""The platforms of one worker: opened by the first task that names one, and disposed of at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from taskrunner.blocking import OverLimit
from taskrunner.bounded import BoundedCalls
from taskrunner.errors import Complaint, MalformedPayload, Unavailable
from taskrunner.interfaces.platform import HEALTHY, Platform, PlatformContext
from taskrunner.model import Health, RunKey
from taskrunner.state.worker_lock import note_platform

OPEN_LIMIT = 60.0
"""Seconds that a platform may take to open. A container engine that is just starting needs tens of them."""

HEALTH_LIMIT = 10.0
"""Seconds that a health check may take; its contract says milliseconds. A platform without an answer counts as not fit:
claiming is paused, and the check is repeated until it answers."""

CLEAN_UP_LIMIT = 120.0
"""Seconds to remove the resources of one dead worker, or of one run, in one platform."""

DISPOSE_LIMIT = 30.0
"""Seconds for a platform to close its connections, so that none of them keeps a worker from ending."""


@attrs.define
class Platforms:
    """Platform classes by name, and the open platforms. A platform that no task names costs nothing."""

    classes: Mapping[str, type[Platform[Any, Any]]]
    context: PlatformContext
    options: Callable[[type[Platform[Any, Any]]], object] = lambda platform: platform.options()
    """Returns the decoded configuration of a platform. May raise ConfigError."""
    promised: frozenset[str] = frozenset()
    """Platforms with a table in the configuration, and that of a queue whose tasks are known to need it. While one of
    them cannot be opened, the machine is not fit to take work. If another one cannot be opened, only the run that needs
    it ends."""
    calls: BoundedCalls = attrs.field(factory=BoundedCalls)
    open_ones: dict[str, Platform[Any, Any]] = attrs.field(factory=dict)
    _opening: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    async def get(self, name: str) -> Platform[Any, Any]:
        """The open platform of that name. Two calls at once return the same one.

        Raises: MalformedPayload (there is none), ConfigError, Unavailable.
        """
        async with self._opening:
            if name not in self.open_ones:
                self.open_ones[name] = await self._open(name)
            return self.open_ones[name]

    async def _open(self, name: str) -> Platform[Any, Any]:
        platform = self.classes.get(name)
        if platform is None:
            known = ", ".join(sorted(self.classes)) or "none"
            raise MalformedPayload(Complaint("platform", f"this worker has no {name!r} platform", f"it has: {known}"))
        options = self.options(platform)
        try:
            note_platform(self.context.home, self.context.worker_id, name)
        except OSError as error:
            raise Unavailable(f"the home folder cannot be written to: {error.strerror}") from error
        opening = platform.open(options, self.context)
        try:
            return await self.calls.call(opening, limit=OPEN_LIMIT, doing=f"opening the {name} platform")
        except OverLimit:
            raise Unavailable(f"the {name} platform did not open within {OPEN_LIMIT:g} s") from None

    async def health(self) -> Health:
        """The health of the first unfit platform among the promised and the open ones, or `HEALTHY`."""
        for name in sorted(self.promised - set(self.open_ones)):
            try:
                await self.get(name)
            except Unavailable as unavailable:
                return Health(fit=False, why=unavailable.message)
        for name, platform in self.open_ones.items():
            health = await self._health(name, platform)
            if not health.fit:
                return health
        return HEALTHY

    async def _health(self, name: str, platform: Platform[Any, Any]) -> Health:
        doing = f"the health check of the {name} platform"
        unanswered = Health(fit=False, why=f"{doing} has not answered for {HEALTH_LIMIT:g} s")
        if self.calls.hangs(doing):
            return unanswered
        try:
            return await self.calls.call(platform.health(), limit=HEALTH_LIMIT, doing=doing)
        except OverLimit:
            return unanswered

    async def clean_up_after(self, worker_id: str, names: Iterable[str]) -> list[str]:
        """Removes the resources of a dead worker in these platforms. Raises OverLimit, and the errors of `get` and of a
        platform."""
        found = []
        for name in names:
            platform = await self.get(name)
            doing = f"cleaning up after worker {worker_id} in the {name} platform"
            found += await self.calls.call(platform.clean_up_after(worker_id), limit=CLEAN_UP_LIMIT, doing=doing)
        return found

    async def clean_up_run(self, name: str, worker_id: str, run: RunKey) -> list[str]:
        """Removes what an ended run has left in a platform. Raises OverLimit, and the errors of `get` and of a
        platform."""
        platform = await self.get(name)
        doing = f"cleaning up after run {run} in the {name} platform"
        return await self.calls.call(platform.clean_up_run(worker_id, run), limit=CLEAN_UP_LIMIT, doing=doing)

    async def dispose(self) -> bool:
        """Closes all open platforms. An error or a hang of one is a warning. Returns whether there was none: then
        nothing of this worker is left in them. A second call does nothing."""
        closed = True
        for name, platform in self.open_ones.items():
            try:
                await self.calls.call(platform.dispose(), limit=DISPOSE_LIMIT, doing=f"closing the {name} platform")
            except Exception as error:  # noqa: BLE001  the others must be closed all the same
                closed = False
                self.calls.warn(f"the {name} platform was not closed: {type(error).__name__}: {error}")
        self.open_ones.clear()
        return closed
