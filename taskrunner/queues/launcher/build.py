"""Build: the one build of a worker, while launchers come and go.

It outlives its connections: the run has one peer from its beginning to its end, so that its log goes on being sent
while no launcher is connected. How it ended is sent once, to the launcher that is connected then. A later one asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import attrs

from taskrunner.errors import ClaimLost, MalformedPayload, TaskFailedInternally
from taskrunner.interfaces.push import Credits, Offer, OfferRefused
from taskrunner.model import COMPLETED, RunKey, Submission, exception
from taskrunner.queues.launcher.build_state import AbortReason, BuildState
from taskrunner.queues.launcher.job.submission import ignored_keys
from taskrunner.queues.launcher.job.unknown_keys import told
from taskrunner.queues.launcher.log.build_log import LauncherLog
from taskrunner.queues.launcher.log.left_log import LeftLog, left_run
from taskrunner.queues.launcher.messages import (
    Abort,
    Close,
    Dispatch,
    Message,
    StateQuery,
    result_message,
    state_response,
)
from taskrunner.queues.launcher.outcome import lost, malformed
from taskrunner.queues.launcher.peer import BuildPeer
from taskrunner.queues.launcher.record import BuildRecord, KeptBuild

log = logging.getLogger(__name__)

HANGING = 300.0
"""Seconds after the end of the build until a worker whose launcher has not said `close` is reported."""


class BuildLauncher(Protocol):
    """The other side of one connection."""

    @property
    def is_open(self) -> bool:
        """Whether a message can reach it. One that is silent for too long is gone before its connection has ended."""

    async def send(self, message: dict[str, Any]) -> None:
        """Raises: ClaimLost (it is gone)."""


@attrs.define(eq=False)
class Build:
    """`credits` is the queue; `submission` makes a task of a job, or raises MalformedPayload."""

    build_id: str
    credits: Credits
    submission: Callable[[Dispatch], Submission]
    log: LauncherLog
    record: BuildRecord
    state: BuildState = attrs.field(factory=BuildState)
    launcher: BuildLauncher | None = None
    """That is connected."""
    closing: bool = False
    """Whether the launcher has said `close`."""
    run: RunKey | None = None
    step_ids: tuple[str, ...] = ()
    """The ids of its steps; empty ones for those without."""
    reported: asyncio.Event = attrs.field(factory=asyncio.Event)
    """Set when the build is over, and its launcher knows if there is one."""
    _saving: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    async def load(self) -> None:
        """Takes over what an earlier worker has left. What it has not sent of the log is sent first: a launcher that
        is told the end can read why. Raises: TaskFailedInternally."""
        kept = await self.record.load()
        self.state, self.step_ids = kept.state, kept.step_ids
        if self.state.over:
            if self.log.kept and not kept.log_sent:
                await self._send_left_log()
            self.reported.set()

    def connect(self, launcher: BuildLauncher) -> bool:
        """Whether this launcher is the one. False: another one is connected."""
        if self.launcher and self.launcher.is_open:
            return False
        self.launcher = launcher
        return True

    def disconnect(self, launcher: BuildLauncher) -> None:
        if self.launcher is launcher:
            self.launcher = None

    async def handle(self, message: Message) -> None:
        """Raises: ClaimLost (the launcher is gone)."""
        match message:
            case StateQuery(self.build_id):
                await self._tell(state_response(self.state))
            case Dispatch(self.build_id):
                await self._dispatch(message)
            case Abort(reason):
                await self._abort(reason)
            case Close():
                await self._close()
            case _:
                log.info("a message about another build was ignored")

    async def watch(self, close_timeout: float) -> None:
        """Stops the worker when its launcher does not, after the end of the build. Runs until it is cancelled."""
        await self.reported.wait()
        await asyncio.sleep(min(HANGING, close_timeout))
        if not self.closing and close_timeout > HANGING:
            log.warning("this worker may be hanging: build %s is over, and nobody has said `close`", self.build_id)
            await asyncio.sleep(close_timeout - HANGING)
        if not self.closing:
            self.credits.drain(f"build {self.build_id} ended {close_timeout:g} s ago, and nobody has said `close`")
        await asyncio.Event().wait()

    # ---- messages ---------------------------------------------------------------------------------------

    async def _dispatch(self, dispatch: Dispatch) -> None:
        if self.state.status != "new":
            return
        after = self.state.after("dispatch")
        try:
            submission = self.submission(dispatch)
        except MalformedPayload as error:
            await self._change(after)
            await self.end(partial(malformed, error=error))
            return
        self.step_ids = step_ids(submission)
        if ignored := told(ignored_keys(dispatch.job)):
            log.warning("build %s: %s", self.build_id, ignored)
        await self._change(after)
        outcome = self.credits.offer(Offer(submission, BuildPeer(self.end, self.log, self.step_ids, ignored)))
        if isinstance(outcome, OfferRefused):
            await self.end(partial(lost, reason=outcome.reason, message=outcome.why))
        else:
            self.run = outcome.run

    async def _abort(self, reason: AbortReason) -> None:
        before = self.state
        await self._change(before.after("abort", abort_reason=reason))
        if self.state is before:
            return
        if self.run:  # its launcher is told when nothing of it is alive
            self.credits.withdraw(self.run, canceled=True, why=f"its launcher has aborted it: {reason}")
        else:
            await self._report()

    async def _close(self) -> None:
        self.closing = True
        self.launcher = None
        if self.state.status == "in-progress":
            await self._abort("cancel")
        self.credits.drain("its launcher has said `close`")

    # ---- the end ----------------------------------------------------------------------------------------

    async def end(self, change: Callable[[BuildState], BuildState]) -> None:
        """The work is over. An aborted build stays aborted, however its run ended."""
        await self._change(change(self.state))
        await self._finish_log()
        await self._report()

    async def _send_left_log(self) -> None:
        ending = COMPLETED if self.state.status == "success" else exception("worker-shutdown", "its worker died")
        try:
            if folder := left_run(self.log.folder, self.build_id):
                async for lines in LeftLog(folder, self.step_ids, ending).lines():
                    await self.log.write(lines)
        except OSError as error:
            log.warning("not all of the log that the last worker has left is sent: %s", error)
        await self._finish_log()

    async def _finish_log(self) -> None:
        if await self.log.finish():
            await self._save(log_sent=True)

    async def _change(self, state: BuildState) -> None:
        if state is self.state:
            return
        self.state = state
        await self._save()

    async def _save(self, *, log_sent: bool = False) -> None:
        async with self._saving:
            try:
                await self.record.save(KeptBuild(self.state, self.step_ids, log_sent))
            except TaskFailedInternally as error:
                log.warning("another worker would not know about this build: %s", error)

    async def _report(self) -> None:
        if self.reported.is_set():
            return
        self.reported.set()
        try:
            await self._tell(result_message(self.state))
        except ClaimLost:
            log.info("the launcher has gone: the next one will ask")

    async def _tell(self, message: dict[str, Any]) -> None:
        if self.launcher:
            await self.launcher.send(message)


def step_ids(submission: Submission) -> tuple[str, ...]:
    steps: Any = submission.document.get("steps", ())
    return tuple(str(step.get("id") or "") for step in steps)
