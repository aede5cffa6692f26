"""Signals as notices, none of which is lost while nobody waits."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from taskrunner.interfaces.host import Leave

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What service managers and container engines send to stop a service, and what a terminal sends for Ctrl-C."""
HANG_UP = signal.SIGHUP
"""What a terminal sends when it is closed, and its shell once more. Nobody is there then to say it a second time."""


class Signals:
    """The first signal is a graceful notice, the second an immediate one; then they are given back.

    A hang-up is immediate at once, and the ones after it say nothing new. Under nohup it is ignored, as ever.
    """

    def __init__(self) -> None:
        self.count = 0
        """How many came."""
        self._notices: asyncio.Queue[Leave] = asyncio.Queue()
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Takes the signals, unless it did so before."""
        if self._before or self.count:
            return
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            self._before[number] = signal.getsignal(number)
            loop.add_signal_handler(number, self._take, number)
        if signal.getsignal(HANG_UP) != signal.SIG_IGN:
            self._before[HANG_UP] = signal.getsignal(HANG_UP)
            loop.add_signal_handler(HANG_UP, self._hang_up)

    async def notice(self) -> Leave:
        """The next notice. Cancelling loses none."""
        self.listen()
        return await self._notices.get()

    def restore(self) -> None:
        """Gives the signals back to whoever had them before. May be called again."""
        for number, before in self._before.items():
            self._release(number, before)
        self._before.clear()

    def _take(self, number: signal.Signals) -> None:
        self.count += 1
        self._notices.put_nowait(Leave(immediate=self.count > 1, why=number.name))
        if self.count > 1:  # there is nothing more urgent to say: the third is as deadly as to any process
            for each in SIGNALS:
                self._release(each, signal.SIG_DFL)

    def _hang_up(self) -> None:
        self.count = max(self.count, 1)  # so that a service manager that sends SIGTERM with it does not kill
        self._notices.put_nowait(Leave(immediate=True, why=HANG_UP.name))

    def _release(self, number: signal.Signals, handler: Any) -> None:
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, handler if handler is not None else signal.SIG_DFL)
