"""The worker: many runs, and the work of each state of the worker machine.

booting         clean up after workers that died
claiming        look whether the machine is fit, then ask the queue for as many runs as there are free slots
running         wait for a slot, or for the machine to be fit again
shutting_down   wait for the last run to end
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import attrs

from taskrunner.driver import Driver, Step
from taskrunner.errors import TaskrunnerError, Unavailable, WorkerBroken
from taskrunner.interfaces.host import Host
from taskrunner.machines.chart import Move, Signal
from taskrunner.machines.machine import Machine
from taskrunner.machines.task import TaskEvent
from taskrunner.machines.worker import Load, WorkerEvent, WorkerMachine, WorkerState
from taskrunner.model import Claim, Health, Notice, Resolution
from taskrunner.worker.crash_recovery import sweep
from taskrunner.worker.health import fitness
from taskrunner.worker.lease import KeptClaim
from taskrunner.worker.run import TaskRun
from taskrunner.worker.services import Services
from taskrunner.worker.stop_condition import StopCondition

HEALTH_CHECK = 5.0
"""Seconds between two looks at a machine that is not fit to take work."""

QUEUE_RETRY = 5.0
"""Seconds until a queue that did not answer is asked again."""

SWEEP_EVERY = 10.0
"""Seconds between two looks for workers that died, between claims: it is a listing of one small folder."""


@attrs.define(eq=False)
class Worker:
    """Owns the slots. Everything about one run is that run's own."""

    services: Services
    host: Host
    capacity: int = 1
    stop_when: StopCondition = attrs.field(factory=StopCondition)
    min_free_disk: int = 0
    """Bytes that must be free in the home for a run to be claimed."""
    runs: dict[int, TaskRun] = attrs.field(factory=dict)
    """By slot."""
    taken: int = 0
    machine: Machine[Load] = attrs.field(init=False)
    driver: Driver = attrs.field(init=False)
    _idle_since: float = attrs.field(init=False, default=0.0)
    _dry: bool = attrs.field(init=False, default=False)
    """The last claim gave nothing, so that another one without waiting would spin."""
    _said: frozenset[str] = attrs.field(init=False, default=frozenset())
    _sweeping: asyncio.Lock = attrs.field(init=False, factory=asyncio.Lock)
    _swept: float = attrs.field(init=False, default=0.0)
    _changed: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)
    _group: asyncio.TaskGroup = attrs.field(init=False, factory=asyncio.TaskGroup)

    def __attrs_post_init__(self) -> None:
        self.machine = WorkerMachine(Load(self.capacity))
        self.driver = Driver(
            self.machine,
            {
                WorkerState.BOOTING: Step(self._boot),
                WorkerState.CLAIMING: Step(self._claim),
                WorkerState.RUNNING: Step(self._wait),
                WorkerState.SHUTTING_DOWN: Step(self._drain),
            },
            explain=lambda error: Signal(WorkerEvent.FATAL, {"why": f"{type(error).__name__}: {error}"}),
            on_move=self._moved,
            on_stray=lambda error: self._warn(f"{type(error).__name__}: {error}"),
        )

    @property
    def load(self) -> Load:
        return self.machine.model

    async def run(self) -> Load:
        """Runs until it is told to stop, or is done by its own `until`, or is broken; the load says which."""
        self._idle_since = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as watchers:
            heard = (self._listen_to_host, self._listen_to_queue)
            listening = [watchers.create_task(self._listening(each)) for each in heard]
            async with self._group:
                await self.driver.run()
            for watcher in listening:
                watcher.cancel()
        return self.load

    def shutdown(self, *, immediate: bool, why: str) -> None:
        """Takes no more work, and finishes what runs; or hands it back now. May be called again to be more urgent."""
        self._tell(WorkerEvent.SHUTDOWN, immediate=immediate, why=why)

    def cancel(self, task_id: str, message: str = "") -> None:
        """Ends the run of a task that nobody wants any more, if it is here."""
        for run in self.runs.values():
            if run.claim.task_id == task_id:
                run.tell(TaskEvent.CANCEL, message=message)

    # ---- the work of each state -------------------------------------------------------------------------

    async def _boot(self) -> Signal:
        await self._sweep()
        return Signal(WorkerEvent.BOOTED)

    async def _claim(self) -> Signal:
        if asyncio.get_running_loop().time() - self._swept >= SWEEP_EVERY:
            await self._sweep()
        if self.host.should_shutdown_now():
            return Signal(WorkerEvent.SHUTDOWN, {"why": "the host is about to go"})
        health = await self._health()
        if not health.fit:
            return Signal(WorkerEvent.PAUSED, {"why": health.why})
        claims = await self._ask()
        self._dry = not claims
        for claim in claims:
            self._take(claim)
        done = await self.stop_when.done(self.taken, self._idle_for, busy=bool(self.runs))
        return Signal(WorkerEvent.SHUTDOWN, {"why": done}) if done else Signal(WorkerEvent.POLLED)

    async def _wait(self) -> Signal:
        while True:
            await asyncio.sleep(HEALTH_CHECK)
            if self.load.pause and (await self._health()).fit:
                return Signal(WorkerEvent.RESUMED)

    async def _drain(self) -> Signal:
        while self.runs:
            self._changed.clear()
            await self._changed.wait()
        return Signal(WorkerEvent.DRAINED)

    # ---- claiming ---------------------------------------------------------------------------------------

    async def _ask(self) -> Sequence[Claim]:
        """Asks the queue for runs. Interrupted, it takes back the question, and still hears the answer."""
        queue, lease = self.services.queue, self.services.lease
        wanted = self.stop_when.wanted(min(self.load.free, queue.capabilities.max_claim), self.taken)
        wait = self.stop_when.patience(self._idle_for, busy=bool(self.runs), dry=self._dry)
        request = asyncio.ensure_future(queue.claim(wanted, lease=lease, wait=wait))
        try:
            return await asyncio.shield(request)
        except Unavailable as unavailable:
            self.services.observer.warn(f"the queue does not answer: {unavailable}")
            await asyncio.sleep(unavailable.retry_after or QUEUE_RETRY)
            return ()
        except asyncio.CancelledError:
            request.cancel()
            await asyncio.wait([request])
            if request.cancelled() or request.exception():
                raise
            return request.result()  # granted in the same tick: it is ours, and must not be forgotten

    @property
    def _idle_for(self) -> float:
        return asyncio.get_running_loop().time() - self._idle_since

    async def _health(self) -> Health:
        return await fitness(self.services, self.min_free_disk)

    # ---- runs -------------------------------------------------------------------------------------------

    def _take(self, claim: Claim) -> None:
        """Starts a run in a free slot. Must not await: a claim in hand is never between two owners."""
        slot = min(set(range(self.capacity)) - set(self.runs), default=self.capacity)
        try:
            run = TaskRun(self.services, KeptClaim(self.services.queue, claim, self.services.lease, self._warn), slot)
        except TaskrunnerError as error:
            self._group.create_task(self._refuse(claim, error))
            return
        self.taken += 1
        self.runs[slot] = run
        self._tell(WorkerEvent.TOOK)
        self.services.observer.started(run.view)
        if self.machine.at == WorkerState.SHUTTING_DOWN:
            run.tell(TaskEvent.REJECT, after=0.0, message=f"the worker is stopping: {self.load.why}")
        self._group.create_task(self._attend(run), name=f"run {claim.run}")

    async def _attend(self, run: TaskRun) -> None:
        resolution = await self._run(run)
        del self.runs[run.slot]
        self._idle_since = asyncio.get_running_loop().time()
        self._tell(WorkerEvent.ENDED)
        self._changed.set()
        self.services.observer.ended(run.view, resolution)
        if run.broken:
            self._tell(WorkerEvent.FATAL, why=str(run.broken))

    async def _run(self, run: TaskRun) -> Resolution:
        """Runs it. What it raises, which it should not, breaks the worker and nothing else."""
        try:
            if run.claim.run_id > 0:
                await self._sweep_before(run)
            return await run.run()
        except Exception as error:  # noqa: BLE001  a bug of ours must not take the other runs down with it
            self._warn("".join(traceback.format_exception(error)))
            run.broken = WorkerBroken(f"{type(error).__name__}: {error}")
            return run.resolution

    async def _sweep_before(self, run: TaskRun) -> None:
        """The last worker of this task may have died on this machine, with the run still alive. Sweeping up after it
        can take longer than a lease, so the claim is kept meanwhile; that it was lost is heard of at the next reclaim.
        """
        keeping = asyncio.create_task(_keep(run.kept))
        try:
            await self._sweep()
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _refuse(self, claim: Claim, error: TaskrunnerError) -> None:
        """Hands back a run for which not even a journal could be begun."""
        self._warn(f"{claim.run} cannot be begun: {error}")
        self._tell(WorkerEvent.PAUSED, why=str(error))
        with suppress(TaskrunnerError):
            await self.services.queue.release(claim, delay=HEALTH_CHECK, reason="resource-unavailable")

    async def _sweep(self) -> None:
        async with self._sweeping:  # whoever waits for it begins only when nothing is left
            await self._sweep_now()

    async def _sweep_now(self) -> None:
        self._swept = asyncio.get_running_loop().time()
        lines = await sweep(self.services)
        for line in lines:
            if line not in self._said:  # what cannot be removed now is tried again, and need not be said again
                self._warn(line)
        self._said = frozenset(lines)

    # ---- what comes from outside, and what is told to others --------------------------------------------

    async def _listening(self, listen: Callable[[], Awaitable[None]]) -> None:
        """What it raises, which it should not, breaks the worker, which hands back its runs in order."""
        try:
            await listen()
        except Exception as error:  # noqa: BLE001  whatever it is, the runs are not to blame
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
                    self._heed(notice)
            except Unavailable as unavailable:  # a notice is advice: each reclaim learns the same
                self._warn(f"the queue gives no notices: {unavailable}")
                await asyncio.sleep(unavailable.retry_after or QUEUE_RETRY)
            else:
                return

    def _heed(self, notice: Notice) -> None:
        if notice.kind == "cancel":
            self.cancel(notice.task_id, notice.message)
        else:
            self.shutdown(immediate=False, why=notice.message or "the queue asked for it")

    def _tell(self, event: WorkerEvent, **data: Any) -> None:
        self.driver.tell(Signal(event, data))

    def _moved(self, move: Move) -> None:
        self.services.observer.worker_moved(move, self.load.why or self.load.pause)
        if move.event in {WorkerEvent.SHUTDOWN, WorkerEvent.FATAL} and self.load.immediate:
            for run in self.runs.values():
                run.tell(TaskEvent.SHUTDOWN, message=f"the worker is stopping: {self.load.why}")

    def _warn(self, text: str) -> None:
        self.services.observer.warn(text)


async def _keep(claim: KeptClaim) -> None:
    await asyncio.sleep(claim.pause)
    await claim.keep()
