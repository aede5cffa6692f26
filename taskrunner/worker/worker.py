"""The worker: many runs, and the work of each state of the worker machine.

booting         recover from dead workers
claiming        check the health, then ask the queue for as many runs as there are free slots
running         wait for a free slot
paused          check the health from time to time; the operator's pause ends by an event from outside
shutting_down   wait for the last run to end
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import attrs

from taskrunner.bounded import BoundedCalls
from taskrunner.driver import Driver, Step
from taskrunner.errors import (
    MalformedPayload,
    TaskFailed,
    TaskFailedInternally,
    Unavailable,
    WorkerBroken,
    machine_fault,
)
from taskrunner.interfaces.host import Host
from taskrunner.machines.chart import Signal
from taskrunner.machines.machine import Machine
from taskrunner.machines.task import TaskEvent
from taskrunner.machines.worker import Load, WorkerEvent, WorkerMachine, WorkerState
from taskrunner.model import Claim, Health, Move, Notice, Resolution
from taskrunner.runs.lease import Claiming, KeptClaim
from taskrunner.runs.run import TaskRun
from taskrunner.runs.services import Services
from taskrunner.worker.crash_recovery import CrashRecovery
from taskrunner.worker.door.report import WorkerReport, report_of
from taskrunner.worker.door.timing import PauseTimer, Times
from taskrunner.worker.health import check_health
from taskrunner.worker.leave import Leaving
from taskrunner.worker.notices import QUEUE_RETRY, QueueNotices
from taskrunner.worker.slot_offer import SlotOffer
from taskrunner.worker.stop_condition import StopCondition
from taskrunner.worker.warm_up import warm_up

HEALTH_INTERVAL = 5.0
"""Seconds between two health checks of a paused worker."""

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
    stop_timeout: float | None = None
    """Seconds to stop in after a notice of a host that does not know how long it has."""
    runs: dict[int, TaskRun] = attrs.field(factory=dict)
    """By slot."""
    removing: set[TaskRun] = attrs.field(factory=set)
    """Runs that have vacated their slots: nothing of them is alive, and they are not over."""
    taken: int = 0
    error: BaseException | None = attrs.field(init=False, default=None)
    """What has broken it, if that was an error of the worker's own work: a configuration that proved to be wrong."""
    machine: Machine[Load] = attrs.field(init=False)
    driver: Driver = attrs.field(init=False)
    times: Times = attrs.field(init=False, factory=Times)
    pause_timer: PauseTimer = attrs.field(init=False)
    _calls: BoundedCalls = attrs.field(init=False)
    _claiming: Claiming = attrs.field(init=False)
    _recovery: CrashRecovery = attrs.field(init=False)
    _idle_since: float = attrs.field(init=False, default=0.0)
    _dry: bool = attrs.field(init=False, default=False)
    """Whether the last claim returned nothing, so that another one without waiting would spin."""
    _arriving: int = attrs.field(init=False, default=0)
    """Number of claimed runs that have no slot yet."""
    _doubted: set[str] = attrs.field(init=False, factory=set)
    """Tasks whose claim may have been lost before their run has got its slot."""
    _offer: SlotOffer = attrs.field(init=False)
    _booted: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)
    _changed: asyncio.Event = attrs.field(init=False, factory=asyncio.Event)
    _group: asyncio.TaskGroup = attrs.field(init=False, factory=asyncio.TaskGroup)

    def __attrs_post_init__(self) -> None:
        self._calls = BoundedCalls(self._warn)
        self._claiming = Claiming(self.services.queue, self.services.lease, self._calls)
        self._recovery = CrashRecovery(self.services, self._calls)
        self.pause_timer = PauseTimer(self.resume)
        self._offer = SlotOffer(self.services.queue, self.services.admission)
        self.services.admission.on_change = self._offer_slots
        self.services.faults.on_fault = lambda why: self._tell(WorkerEvent.UNFIT, why=why)
        self.machine = WorkerMachine(Load(self.capacity))
        self.driver = Driver(
            self.machine,
            {
                WorkerState.BOOTING: Step(self._boot),
                WorkerState.CLAIMING: Step(self._claim),
                WorkerState.RUNNING: Step(self._wait),
                WorkerState.PAUSED: Step(self._watch_health),
                WorkerState.SHUTTING_DOWN: Step(self._drain),
            },
            explain=self._explain,
            on_move=self._moved,
            on_late_error=lambda error: self._warn(f"{type(error).__name__}: {error}"),
        )

    @property
    def load(self) -> Load:
        return self.machine.model

    async def run(self) -> Load:
        """Runs until a shutdown, until `stop_when` is met, or until it is broken; the load says why."""
        self._idle_since = asyncio.get_running_loop().time()
        leaving = Leaving(
            self.host, lambda now, why: self.shutdown(immediate=now, why=why), self._end_uploads, self.stop_timeout
        )
        notices = QueueNotices(self.services.queue, self._handle, self._warn)
        sources = (leaving.listen, notices.listen, self._recovery.repeat, self._warm_up)
        listening = [asyncio.create_task(self._listening(source)) for source in sources]
        try:
            async with self._group:
                await self.driver.run()
        finally:
            self.pause_timer.clear()
            for listener in listening:
                listener.cancel()
            await asyncio.wait(listening, timeout=QUEUE_RETRY)  # a plugin may ignore its cancellation
        return self.load

    def shutdown(self, *, immediate: bool, why: str) -> None:
        """Takes no more work; finishes its runs, or hands them back now. A second call may be more urgent."""
        self._tell(WorkerEvent.SHUTDOWN_NOW if immediate else WorkerEvent.SHUTDOWN, why=why)

    def cancel(self, task_id: str, message: str = "") -> None:
        """Ends the run of a task that was canceled, if it is here."""
        for run in self._all_runs:
            if run.claim.task_id == task_id:
                run.tell(TaskEvent.CANCEL, message=message)

    # ---- for the operator -------------------------------------------------------------------------------

    def status(self) -> WorkerReport:
        """What the worker does at this moment."""
        return report_of(self)

    def pause(self, seconds: float | None = None) -> None:
        """Claims no more runs until `resume`, or for this time; what runs goes on. A second call sets another time.

        Independent of the machine's health, which neither ends this pause nor is overruled by its end.
        """
        self.pause_timer.set(seconds)
        self._tell(WorkerEvent.PAUSE, order="paused by its operator")

    def resume(self) -> None:
        """Ends the operator's pause; without one, nothing happens. An unfit machine goes on waiting."""
        self.pause_timer.clear()
        self._tell(WorkerEvent.RESUME)

    def drain(self, *, now: bool = False) -> None:
        """Stops the worker like the first signal, or with `now` like the second. A second call may be more urgent."""
        self.shutdown(immediate=now, why="drained by its operator")

    def operated_run(self, task_id: str, run_id: int | None = None) -> TaskRun:
        """The run of a task that is here. Raises TaskFailed (`not-running`)."""
        for run in self._all_runs:
            if run.claim.task_id == task_id and run_id in {None, run.claim.run_id}:
                return run
        wanted = task_id if run_id is None else f"{task_id}/{run_id}"
        raise TaskFailed("not-running", f"{wanted} does not run on this worker")

    # ---- the work of each state -------------------------------------------------------------------------

    async def _boot(self) -> Signal:
        await self._recovery.run()
        self._booted.set()
        return Signal(WorkerEvent.BOOTED)

    async def _claim(self) -> Signal:
        if self.host.should_shutdown_now():
            return Signal(WorkerEvent.SHUTDOWN, {"why": "the host is about to go"})
        health = await self._health()
        if not health.fit:
            return Signal(WorkerEvent.UNFIT, {"why": health.why})
        await self._ask()
        done = await self._done(self._idle_for)
        return Signal(WorkerEvent.SHUTDOWN, {"why": done}) if done else Signal(WorkerEvent.POLLED)

    async def _wait(self) -> Signal:
        free: asyncio.Future[Signal] = asyncio.get_running_loop().create_future()
        return await free  # never done: the end of a run moves the machine

    async def _watch_health(self) -> Signal:
        while True:
            if not self.load.held and (done := await self._done(idle_for=0.0)):
                return Signal(WorkerEvent.SHUTDOWN, {"why": done})
            self._changed.clear()
            with suppress(TimeoutError):  # the end of a run may leave room on a disk
                async with asyncio.timeout(HEALTH_INTERVAL):
                    await self._changed.wait()
            health = await self._health()
            if health.fit and self.load.fault:
                return Signal(WorkerEvent.FIT)
            if not health.fit and health.why != self.load.fault:
                self._tell(WorkerEvent.UNFIT, why=health.why)

    async def _drain(self) -> Signal:
        while self._all_runs:
            self._changed.clear()
            await self._changed.wait()
        return Signal(WorkerEvent.DRAINED)

    # ---- claiming ---------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        """Asks the queue for runs, and starts them. When resources are counted, one at a time: whether the next one
        fits is known when the last one is read."""
        await self.services.admission.settled()
        most = 1 if self.services.admission.counts else self.services.queue.capabilities.max_claim
        most = min(self.load.free, most)
        wait = self.stop_when.claim_wait(self._idle_for, busy=bool(self.runs), dry=self._dry)
        try:
            claims = await self._claiming.ask(self.stop_when.wanted(most, self.taken), wait)
        except Unavailable as unavailable:
            self._warn(f"the queue does not answer: {unavailable}")
            await asyncio.sleep(unavailable.retry_after or QUEUE_RETRY)
            claims = ()
        self._dry = not claims
        self._arriving = len(claims)
        for claim in claims:
            self._arriving -= 1
            self._take(claim)
        self._doubted.clear()

    async def _done(self, idle_for: float) -> str:
        """Why the worker is done; empty when it is not. It does not idle while its machine is unfit."""
        asking = self.stop_when.done(self.taken, idle_for, busy=bool(self.runs))
        return await self._calls.call(asking, limit=STOP_CONDITION_LIMIT, doing="asking whether the worker is done")

    @property
    def _idle_for(self) -> float:
        return asyncio.get_running_loop().time() - self._idle_since

    async def _health(self) -> Health:
        return await check_health(self.services, self.min_free_disk)

    def _offer_slots(self) -> None:
        """Called at each change of what can be taken."""
        if self.machine.at != WorkerState.BOOTING:
            free = self.stop_when.wanted(self.load.free, self.taken) - self._claiming.granted - self._arriving
            stopping = self.machine.at in {WorkerState.SHUTTING_DOWN, WorkerState.STOPPED}
            self._offer.update(self.load, free, stopping=stopping)

    # ---- runs -------------------------------------------------------------------------------------------

    @property
    def _all_runs(self) -> list[TaskRun]:
        return [*self.runs.values(), *self.removing]

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
        run.on_vacated = partial(self._vacated, run)
        self._tell(WorkerEvent.TOOK)
        self.services.observer.started(run.view)
        if claim.task_id in self._doubted:
            run.reclaim_now()
        if self.load.hands_back:
            run.tell(TaskEvent.REJECT, after=0.0, message=f"the worker is stopping: {self.load.why}")
        self._group.create_task(self._run_in_slot(run), name=f"run {claim.run}")

    async def _run_in_slot(self, run: TaskRun) -> None:
        resolution = await self._run(run)
        run.share.release()
        if run in self.removing:
            self.removing.remove(run)
            self._tell(WorkerEvent.REMOVED)
        else:
            self._free(run)
            self._tell(WorkerEvent.ENDED)
        self._changed.set()
        self.services.observer.ended(run.view, resolution)
        if run.broken:
            self._tell(WorkerEvent.FATAL, why=str(run.broken))

    def _vacated(self, run: TaskRun) -> None:
        """The run is answered and removed behind its slot, which is free."""
        self._free(run)
        self.removing.add(run)
        self._tell(WorkerEvent.VACATED)

    def _free(self, run: TaskRun) -> None:
        del self.runs[run.slot]
        self._idle_since = asyncio.get_running_loop().time()

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
        if fault := machine_fault(error):
            self.services.faults.note(fault)
        expected = fault or isinstance(error, TaskFailedInternally | MalformedPayload)
        self._tell(WorkerEvent.UNFIT if expected else WorkerEvent.FATAL, why=str(error))
        await self._claiming.hand_back(claim, HEALTH_INTERVAL)

    # ---- events from outside, and reports to others -----------------------------------------------------

    async def _listening(self, listen: Callable[[], Awaitable[None]]) -> None:
        """An exception here breaks the worker, which hands back its runs in order."""
        try:
            await listen()
        except Exception as error:  # noqa: BLE001  any error must hand back the runs
            self._warn("".join(traceback.format_exception(error)))
            self._tell(WorkerEvent.FATAL, why=f"{type(error).__name__}: {error}")

    async def _warm_up(self) -> None:
        """Beside the first claim, which a peer may answer meanwhile."""
        await self._booted.wait()
        health = await warm_up(self.services, self.run_class)
        if not health.fit:
            self._tell(WorkerEvent.UNFIT, why=health.why)

    def _handle(self, notice: Notice) -> None:
        if self._claiming.granted:
            self._doubted.add(notice.task_id)
        if notice.kind == "cancel":
            self.cancel(notice.task_id, notice.message)
        elif notice.kind == "reclaim":
            for run in self._all_runs:
                if run.claim.task_id == notice.task_id:
                    run.reclaim_now()
        else:
            self.shutdown(immediate=False, why=notice.message or "the queue asked for it")

    def _end_uploads(self, when: float) -> None:
        for run in self._all_runs:
            run.upload.end_by(when)

    def _explain(self, error: BaseException) -> Signal:
        self.error = error
        return Signal(WorkerEvent.FATAL, {"why": f"{type(error).__name__}: {error}"})

    def _tell(self, event: WorkerEvent, **data: Any) -> None:
        self.driver.tell(Signal(event, data))

    def _moved(self, move: Move) -> None:
        if move.moved:
            self.times.moved()
        self._offer_slots()
        self.services.observer.worker_moved(move, self.load.why or self.load.pause)
        if move.event in {WorkerEvent.SHUTDOWN_NOW, WorkerEvent.FATAL}:
            for run in self._all_runs:
                run.tell(TaskEvent.SHUTDOWN, message=f"the worker is stopping: {self.load.why}")

    def _warn(self, text: str) -> None:
        self.services.observer.warn(text)


async def _keep(claim: KeptClaim) -> None:
    await asyncio.sleep(claim.pause)
    await claim.keep()
