"""Plugins of a worker under test: a push source that does more than the one in the examples, and a platform that
rejects.

The variable `PEER_PATIENCE` replaces the limit of that name, which is too long for a test with a real clock.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from examples.push_source import LinePeer, LineQueue, LineSource
from taskrunner import (
    Credits,
    NoOptions,
    Offer,
    OfferRefused,
    Progress,
    QueueContext,
    Reject,
    RunKey,
    Submission,
    limits,
)
from taskrunner_process import ProcessPayload, ProcessPlatform

limits.PEER_PATIENCE = float(os.environ.get("PEER_PATIENCE", limits.PEER_PATIENCE))

__all__ = ["KeepingLineQueue", "KeepingLineSource", "LineQueue", "LineSource", "ToolchainPlatform"]


class ProgressLinePeer(LinePeer):
    async def progress(self, progress: Progress) -> None:
        await self.send(step=progress.step, done=progress.done)


class KeepingLineSource(LineSource):
    """A run outlives its connection: `{"resume": "<task>"}` takes it over. A line `drain` stops the worker."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._runs: dict[str, RunKey] = {}
        """The last run of each task."""

    async def converse(self, credits: Credits, reader: asyncio.StreamReader, peer: LinePeer) -> None:
        message = json.loads(await reader.readline())
        run = await self._begin(credits, ProgressLinePeer(peer.writer), message)
        with suppress(ConnectionError):
            while run and (line := await reader.readline()):
                if line == b'"drain"\n':
                    credits.drain("the peer said so")
                else:
                    credits.withdraw(run, canceled=True, why=line.decode().strip())
        if run:
            credits.detach(run)

    async def _begin(self, credits: Credits, peer: LinePeer, message: dict[str, object]) -> RunKey | None:
        if "resume" in message:
            run = self._runs[str(message["resume"])]
            if credits.attach(run, peer):
                return run
            await peer.refuse("unknown", "this run is not known any more")
            return None
        task_id = str(message["task"])
        outcome = credits.offer(Offer(Submission(task_id, message["document"]), peer))  # type: ignore[arg-type]
        if isinstance(outcome, OfferRefused):
            await peer.refuse(outcome.reason, outcome.why)
            return None
        self._runs[task_id] = outcome.run
        return outcome.run


class KeepingLineQueue(LineQueue):
    @classmethod
    async def open(cls, options: NoOptions, context: QueueContext) -> Self:
        return cls(KeepingLineSource(urlsplit(context.url).path), context.worker_id, context.home)


class ToolchainPlatform(ProcessPlatform):
    """Processes that need a toolchain: a folder `toolchain` in the home of the user."""

    name = "toolchain"

    @classmethod
    def check(cls, payload: ProcessPayload) -> None:
        super().check(payload)
        if not Path("~/toolchain").expanduser().exists():
            raise Reject(60.0, "the toolchain is being installed")
