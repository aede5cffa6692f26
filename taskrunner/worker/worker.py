"""The worker: many runs, and the work of each state of the worker machine.

booting         recover from dead workers
claiming        check the health, then ask the queue for as many runs as there are free slots
running         wait for a free slot
paused          wait until the machine is fit
shutting_down   wait for the last run to end
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from taskrunner.bounded import BoundedCalls
from taskrunner.driver import Driver, Step
from taskrunner.errors import MalformedPayload, TaskFailedInternally, Unavailable, WorkerBroken
from taskrunner.interfaces.host import Host
from taskrunner.machines.chart import Move, Signal
from taskrunner.machines.machine import Machine
from taskrunner.machines.task import TaskEvent
from taskrunner.machines.worker import Load, WorkerEvent, WorkerMachine, WorkerState
from taskrunner.model import Claim, Health, Notice, Resolution
from taskrunner.worker.crash_recovery import CrashRecovery
from taskrunner.worker.health import check_health
from taskrunner.worker.lease import Claiming, KeptClaim
from taskrunner.worker.run import TaskRun
from taskrunner.worker.services import Services
from taskrunner.worker.stop_condition import StopCondition

HEALTH_INTERVAL = 5.0
"""Seconds between two health checks of a paused worker."""

QUEUE_RETRY = 5.0
"""Seconds between two calls to a queue that does not answer."""

STOP_CONDITION_LIMIT = 60.0
"""Seconds for the stop condition, which may ask the queue."""


@attrs.define(eq=False)
class Worker:
    """Owns the slots. Each run owns its own state."""

    services: Services
    host: Host
    capacity: int = 1
    stop_when: StopCondition = attrs.field(factory=StopCondition)
    min_free_disk: int = 0
    """Bytes that must be free in the home for a run to be claimed."""
    run_class: type[TaskRun] = TaskRun
    """The class of a run: a subclass can have other states, and other work in them."""
    runs: dict[int, TaskRun] = attrs.field(factory=dict)
    """By slot."""
    taken: int = 0
    machine: Machine[Load] = attrs.field(init=False)
    driver: Driver = attrs.field(init=False)
    _calls: BoundedCalls = attrs.field(init=False)
    _claiming: Claiming = attrs.field(init=False)
    _recovery: CrashRecovery = attrs.field(init=False)
    _idle_since: float = attrs.field(init=False, default=0.0)
    _dry: bool = attrs.field(init=False, default=False)
    """Whether the last claim returned nothing, so that another one without waiting would spin."""
    _changed: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)
    _group: asyncio.TaskGroup = attrs.field(init=False, factory=asyncio.TaskGroup)

    def __attrs_post_init__(self) -> None:
        self._calls = BoundedCalls(self._warn)
        self._claiming = Claiming(self.services.queue, self.services.lease, self._calls)
        self._recovery = CrashRecovery(self.services, self._calls)
        self.machine = WorkerMachine(Load(self.capacity))
        self.driver = Driver(
            self.machine,
            {
                WorkerState.BOOTING: Step(self._boot),
                WorkerState.CLAIMING: Step(self._claim),
                WorkerState.RUNNING: Step(self._wait),
                WorkerState.PAUSED: Step(self._wait_until_fit),
                WorkerState.SHUTTING_DOWN: Step(self._drain),
            },
            explain=lambda error: Signal(WorkerEvent.FATAL, {"why": f"{type(error).__name__}: {error}"}),
            on_move=self._moved,
            on_late_error=lambda error: self._warn(f"{type(error).__name__}: {error}"),
        )

    @property
    def load(self) -> Load:
        return self.machine.model

    async def run(self) -> Load:
        """Runs until a shutdown, until `stop_when` is met, or until it is broken; the load says why."""
        self._idle_since = asyncio.get_running_loop().time()
        sources = (self._listen_to_host, self._listen_to_queue)
        listening = [asyncio.create_task(self._listening(source)) for source in sources]
        try:
            async with self._group:
                await self.driver.run()
        finally:
            for listener in listening:
                listener.cancel()
            await asyncio.wait(listening, timeout=QUEUE_RETRY)  # a plug may ignore its cancellation
        return self.load

    def shutdown(self, *, immediate: bool, why: str) -> None:
        """Takes no more work; finishes its runs, or hands them back now. A second call may be more urgent."""
        self._tell(WorkerEvent.SHUTDOWN_NOW if immediate else WorkerEvent.SHUTDOWN, why=why)

    def cancel(self, task_id: str, message: str = "") -> None:
        """Ends the run of a task that was canceled, if it is here."""
        for run in self.runs.values():
            if run.claim.task_id == task_id:
                run.tell(TaskEvent.CANCEL, message=message)

    # ---- the work of each state -------------------------------------------------------------------------

    async def _boot(self) -> Signal:
        await self._recovery.run()
        return Signal(WorkerEvent.BOOTED)

    async def _claim(self) -> Signal:
        if self._recovery.due:
            await self._recovery.run()
        if self.host.should_shutdown_now():
            return Signal(WorkerEvent.SHUTDOWN, {"why": "the host is about to go"})
        health = await self._health()
        if not health.fit:
            return Signal(WorkerEvent.PAUSE, {"why": health.why})
        await self._ask()
        done = await self._done()
        return Signal(WorkerEvent.SHUTDOWN, {"why": done}) if done else Signal(WorkerEvent.POLLED)

    async def _wait(self) -> Signal:
        free: asyncio.Future[Signal] = asyncio.get_running_loop().create_future()
        return await free  # never done: the end of a run moves the machine

    async def _wait_until_fit(self) -> Signal:
        while True:
            await asyncio.sleep(HEALTH_INTERVAL)
            health = await self._health()
            if health.fit:
                return Signal(WorkerEvent.RESUME)
            self._tell(WorkerEvent.PAUSE, why=health.why)

    async def _drain(self) -> Signal:
        while self.runs:
            self._changed.clear()
            await self._changed.wait()
        return Signal(WorkerEvent.DRAINED)

    # ---- claiming ---------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        """Asks the queue for runs, and starts them."""
        most = min(self.load.free, self.services.queue.capabilities.max_claim)
        wait = self.stop_when.claim_wait(self._idle_for, busy=bool(self.runs), dry=self._dry)
        try:
            claims = await self._claiming.ask(self.stop_when.wanted(most, self.taken), wait)
        except Unavailable as unavailable:
            self._warn(f"the queue does not answer: {unavailable}")
            await asyncio.sleep(unavailable.retry_after or QUEUE_RETRY)
            claims = ()
        self._dry = not claims
        for claim in claims:
            self._take(claim)

    async def _done(self) -> str:
        """Why the worker is done; empty when it is not."""
        asking = self.stop_when.done(self.taken, self._idle_for, busy=bool(self.runs))
        return await self._calls.call(asking, limit=STOP_CONDITION_LIMIT, doing="asking whether the worker is done")

    @property
    def _idle_for(self) -> float:
        return asyncio.get_running_loop().time() - self._idle_since

    async def _health(self) -> Health:
        return await check_health(self.services, self.min_free_disk)

    # ---- runs -------------------------------------------------------------------------------------------

    def _take(self, claim: Claim) -> None:
        """Starts a run in a free slot. Must not await, so that a claim always has one owner."""
        slot = min(set(range(self.capacity)) - set(self.runs), default=self.capacity)
        kept = KeptClaim(self.services.queue, claim, self.services.lease, self._calls)
        try:
            run = self.run_class(self.services, kept, slot)
        except Exception as error:  # noqa: BLE001  the claim is handed back after any error
            self._group.create_task(self._refuse(claim, error))
            return
        self.taken += 1
        self.runs[slot] = run
        self._tell(WorkerEvent.TOOK)
        self.services.observer.started(run.view)
        if self.load.hands_back:
            run.tell(TaskEvent.REJECT, after=0.0, message=f"the worker is stopping: {self.load.why}")
        self._group.create_task(self._run_in_slot(run), name=f"run {claim.run}")

    async def _run_in_slot(self, run: TaskRun) -> None:
        resolution = await self._run(run)
        del self.runs[run.slot]
        self._idle_since = asyncio.get_running_loop().time()
        self._tell(WorkerEvent.ENDED)
        self._changed.set()
        self.services.observer.ended(run.view, resolution)
        if run.broken:
            self._tell(WorkerEvent.FATAL, why=str(run.broken))

    async def _run(self, run: TaskRun) -> Resolution:
        """Runs it to its end. An exception here breaks the worker only."""
        try:
            if run.claim.run_id > 0:
                await self._recover_before(run)
            return await run.run()
        except Exception as error:  # noqa: BLE001  a bug in one run must not end the others
            self._warn("".join(traceback.format_exception(error)))
            run.broken = WorkerBroken(f"{type(error).__name__}: {error}")
            return run.resolution

    async def _recover_before(self, run: TaskRun) -> None:
        """The last worker of this task may have died on this machine, with the run still alive. Recovery can take
        longer than a lease, so the claim is renewed meanwhile. A lost claim is detected at the next reclaim.
        """
        keeping = asyncio.create_task(_keep(run.kept))
        try:
            await self._recovery.run()
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _refuse(self, claim: Claim, error: Exception) -> None:
        """Hands back a run that could not be begun: the disk is full, or the run class has a bug."""
        self._warn(f"{claim.run} cannot be begun: {error}")
        expected = isinstance(error, TaskFailedInternally | MalformedPayload)
        self._tell(WorkerEvent.PAUSE if expected else WorkerEvent.FATAL, why=str(error))
        await self._claiming.hand_back(claim, HEALTH_INTERVAL)

    # ---- events from outside, and reports to others -----------------------------------------------------

    async def _listening(self, listen: Callable[[], Awaitable[None]]) -> None:
        """An exception here breaks the worker, which hands back its runs in order."""
        try:
            await listen()
        except Exception as error:  # noqa: BLE001  any error must hand back the runs
            self._warn("".join(traceback.format_exception(error)))
            self._tell(WorkerEvent.FATAL, why=f"{type(error).__name__}: {error}")

    async def _listen_to_host(self) -> None:
        while True:
            leave = await self.host.shutting_down()
            self.shutdown(immediate=leave.immediate, why=leave.why)

    async def _listen_to_queue(self) -> None:
        while True:
            try:
                async for notice in self.services.queue.notices():
                    self._handle(notice)
            except Unavailable as unavailable:  # a notice is only a hint: a reclaim reports the same
                self._warn(f"the queue gives no notices: {unavailable}")
                await asyncio.sleep(unavailable.retry_after or QUEUE_RETRY)
            else:
                return

    def _handle(self, notice: Notice) -> None:
        if notice.kind == "cancel":
            self.cancel(notice.task_id, notice.message)
        else:
            self.shutdown(immediate=False, why=notice.message or "the queue asked for it")

    def _tell(self, event: WorkerEvent, **data: Any) -> None:
        self.driver.tell(Signal(event, data))

    def _moved(self, move: Move) -> None:
        self.services.observer.worker_moved(move, self.load.why or self.load.pause)
        if move.event in {WorkerEvent.SHUTDOWN_NOW, WorkerEvent.FATAL}:
            for run in self.runs.values():
                run.tell(TaskEvent.SHUTDOWN, message=f"the worker is stopping: {self.load.why}")

    def _warn(self, text: str) -> None:
        self.services.observer.warn(text)


async def _keep(claim: KeptClaim) -> None:
    await asyncio.sleep(claim.pause)
    await claim.keep()
