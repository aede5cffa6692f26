"""Leaving: what the notices of the host mean for the worker, and what it does with the time that is left.

A graceful notice lets the runs finish. When the host knows how long the machine still lives, they get that time but for
HAND_BACK_TIME: then they are handed back, so that another worker has them before this machine stops. What is uploading
by then may go on until REPORT_TIME is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs

from taskrunner.interfaces.host import Host, Leave

HAND_BACK_TIME = 30.0
"""Seconds that a worker keeps for killing its runs and reporting them. Ending a container takes ten of them when its
command ignores the signal, and a report waits for a queue that does not answer."""

REPORT_TIME = 10.0
"""Seconds that it keeps for reporting a run whose upload does not end in time."""

PAUSE = 0.1
"""Seconds between two notices: a host whose notice does not end (a metadata service that says the same at each call)
must not keep the loop busy. Nobody sends a second signal sooner."""


@attrs.define(eq=False)
class Leaving:
    """Passes the notices of a host on."""

    host: Host
    shutdown: Callable[[bool, str], None]
    """Takes `immediate` and `why`. Called again for another notice, and when the time is over."""
    end_uploads: Callable[[float], None]
    """Takes the time, by the loop's clock, at which an upload that still goes on is ended."""
    stop_timeout: float | None = None
    """Seconds that a host has left which does not say so itself; None: no limit."""
    _timer: asyncio.TimerHandle | None = attrs.field(init=False, default=None)
    _last: tuple[bool, str] | None = attrs.field(init=False, default=None)

    async def listen(self) -> None:
        """Follows the host until it is cancelled."""
        try:
            while True:
                self._follow(await self.host.shutting_down())
                await asyncio.sleep(PAUSE)
        finally:
            if self._timer:
                self._timer.cancel()

    def _follow(self, leave: Leave) -> None:
        rest = self.stop_timeout if leave.time_left is None else leave.time_left
        self._shut_down(leave.immediate or (rest is not None and rest <= HAND_BACK_TIME), leave.why)
        if rest is not None:
            now = asyncio.get_running_loop().time()
            self.end_uploads(now + max(0.0, rest - REPORT_TIME))
            self._hand_back_at(now + max(0.0, rest - HAND_BACK_TIME), leave.why)

    def _hand_back_at(self, when: float, why: str) -> None:
        """The earliest of several times counts: a later notice may only be more urgent."""
        if self._timer and self._timer.when() <= when:
            return
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._shut_down, True, why)

    def _shut_down(self, immediate: bool, why: str) -> None:
        """A notice that does not end is passed on once."""
        if (immediate, why) != self._last:
            self._last = (immediate, why)
            self.shutdown(immediate, why)
