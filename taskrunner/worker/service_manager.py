"""What the service manager is told about a worker: that it is ready, what it does, and that it is alive.

Theory of operation:

1. `READY=1` follows the first move out of `booting`: the worker has cleaned up after dead ones, and claims.
2. The heartbeat is a coroutine in the worker's own event loop, and not a thread: when a plugin blocks the loop, no run
   is watched, no claim renewed and no signal handled, and the heartbeat ends with all that. The service manager then
   kills the worker and starts another, which hands back the runs.
3. Before `READY=1` the watchdog is off, so each heartbeat asks for more time to start: recovery may take minutes.
4. `STOPPING=1` is never sent. systemd would count its time to stop from there, also for `taskrunner drain`, which lets
   the runs take as long as they take.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
from statemachine import State

from taskrunner.machines.worker import Load, WorkerState
from taskrunner.worker.notify_socket import NotifySocket, notify_socket, watchdog_limit

if TYPE_CHECKING:
    from taskrunner.worker.worker import Worker

BEAT = 10.0
"""Seconds between two heartbeats of a worker without a watchdog: it may need more time to start."""

MORE_TIME = 60.0
"""Seconds that a heartbeat asks for while the worker starts."""

BEATS = 3
"""Heartbeats in the limit of the watchdog. systemd asks for two; on a busy machine one of them may be late."""


@asynccontextmanager
async def reporting(worker: Worker) -> AsyncIterator[None]:
    """Reports the worker to the service manager that has started it, for as long as the block lasts; without one,
    nothing happens."""
    variables = os.environ
    channel = notify_socket(variables, worker.services.observer.warn)
    if channel is None:
        yield
        return
    reports = ServiceReports(channel, worker.load)
    worker.machine.add_listener(reports)
    limit = watchdog_limit(variables)
    heart = asyncio.create_task(reports.beat(limit / BEATS if limit else BEAT), name="the worker's heartbeat")
    try:
        yield
    finally:
        heart.cancel()


@attrs.define(eq=False)
class ServiceReports:
    """A listener of the worker's machine, with the heartbeat beside it."""

    channel: NotifySocket
    load: Load
    _ready: bool = attrs.field(init=False, default=False)
    _shown: str = attrs.field(init=False, default="")

    def after_transition(self, target: State) -> None:
        """Called by the machine after each event."""
        lines = [] if self._ready or target.id in {WorkerState.BOOTING, WorkerState.STOPPED} else ["READY=1"]
        self._ready = self._ready or bool(lines)
        status = status_line(target.id, self.load)
        if lines or status != self._shown:
            self._shown = status
            self.channel.send(*lines, f"STATUS={status}")

    async def beat(self, pause: float) -> None:
        """Sends a heartbeat whenever this time has passed, until it is cancelled."""
        while True:
            self.channel.send("WATCHDOG=1" if self._ready else f"EXTEND_TIMEOUT_USEC={MORE_TIME * 1e6:.0f}")
            await asyncio.sleep(pause)


def status_line(state: str, load: Load) -> str:
    """What the worker does, in one line: `claiming, 2 of 4 slots taken`."""
    removing = f", {load.removing} being removed" if load.removing else ""
    why = load.why or load.pause
    text = f"{state.replace('_', ' ')}, {load.busy} of {load.capacity} slots taken{removing}{why and f': {why}'}"
    return " ".join(text.split())  # a line feed would begin another message
