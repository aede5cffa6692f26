"""Calls of peers that each wait for the end of a run: one offers its run again while a slot is about to be free."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

import attrs

from taskrunner.interfaces.push import Credits, Offer, OfferRefused, Taken
from taskrunner.model import RunKey

SLOT_WAIT, LOOK_AGAIN = 10.0, 0.01
"""Seconds for the slot of a run to be free that has its answer, or whose caller has hung up, and between two looks. Its
processes end meanwhile: a caller that sends one run after the other is not told that the worker is busy with the last.
"""

HANG_UP = 0.25
"""Seconds in which a hang-up may still come behind the next call of the same caller: gRPC reports them in any order."""


@attrs.define(eq=False)
class WaitingCalls:
    """Those at one port."""

    credits: Credits
    _open: int = 0
    """Runs whose callers wait for more."""

    async def offer(self, offer: Offer) -> Taken | OfferRefused:
        """As `Credits.offer`, and again while a slot is about to be free."""
        began = time.monotonic()
        while isinstance(outcome := self.credits.offer(offer), OfferRefused):
            limit = SLOT_WAIT if self._open < self.credits.capacity else HANG_UP
            if outcome.reason != "busy" or time.monotonic() - began > limit:
                break
            await asyncio.sleep(LOOK_AGAIN)
        return outcome

    async def wait(self, run: RunKey, end: Awaitable[object], why: str) -> None:
        """Waits for the last message about a run. A call that is cancelled, or whose connection ends, ends its run:
        `why` says so to people."""
        self._open += 1
        try:
            await end
        except asyncio.CancelledError:
            self.credits.withdraw(run, canceled=False, why=why)
            raise
        finally:
            self._open -= 1
