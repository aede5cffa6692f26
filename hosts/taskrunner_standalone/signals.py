"""Signals as notices, none of which is lost before it is waited for."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from taskrunner.interfaces.host import Leave

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""Service managers and container engines send the first to stop a service, and a terminal the second for Ctrl-C."""
HANG_UP = signal.SIGHUP
"""A closed terminal sends it, and its shell once more. There is no user left who could send a second signal."""


class Signals:
    """The first signal is a graceful notice, the second an immediate one; then the default handlers are restored.

    A hang-up is immediate at once, and later ones change nothing. Under nohup it stays ignored.
    """

    def __init__(self) -> None:
        self.count = 0
        """The number of signals so far."""
        self._notices: asyncio.Queue[Leave] = asyncio.Queue()
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Installs the handlers, unless they were installed before."""
        if self._before or self.count:
            return
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            self._before[number] = signal.getsignal(number)
            loop.add_signal_handler(number, self._handle, number)
        if signal.getsignal(HANG_UP) != signal.SIG_IGN:
            self._before[HANG_UP] = signal.getsignal(HANG_UP)
            loop.add_signal_handler(HANG_UP, self._hang_up)

    async def notice(self) -> Leave:
        """The next notice. Cancelling loses none."""
        self.listen()
        return await self._notices.get()

    def restore(self) -> None:
        """Installs the handlers that were there before. May be called again."""
        for number, before in self._before.items():
            self._set_handler(number, before)
        self._before.clear()

    def _handle(self, number: signal.Signals) -> None:
        self.count += 1
        self._notices.put_nowait(Leave(immediate=self.count > 1, why=number.name))
        if self.count > 1:  # no notice is more urgent: the third signal kills, as it does any process
            for each in SIGNALS:
                self._set_handler(each, signal.SIG_DFL)

    def _hang_up(self) -> None:
        self.count = max(self.count, 1)  # so that a service manager that sends SIGTERM with it does not kill
        self._notices.put_nowait(Leave(immediate=True, why=HANG_UP.name))

    def _set_handler(self, number: signal.Signals, handler: Any) -> None:
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, handler if handler is not None else signal.SIG_DFL)
