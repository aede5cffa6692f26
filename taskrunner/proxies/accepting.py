"""The end of a listening socket, without the connections that CPython loses there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol


class Listening(Protocol):
    """A socket, or what `asyncio.Server.sockets` gives in place of one."""

    def fileno(self) -> int: ...


async def stop_accepting(sockets: Iterable[Listening]) -> None:
    """Accepts nothing more, and lets each connection begin that was accepted already. Called before the server of the
    sockets is closed.

    `asyncio.Server.close` between the two, in Python 3.11, leaves such a connection open for ever, without a protocol
    that could end it: the transport is there when `Server._attach` raises an AssertionError.
    """
    loop = asyncio.get_running_loop()
    for each in sockets:
        loop.remove_reader(each.fileno())
    await asyncio.sleep(0)
