"""One run, from its claim to its resolution: the work of each state of the task machine.

    claimed     decode the task, open its platform
    loading     make the engine, load the payload, attach caches
    running     start the execution, wait for its end
    uploading   collect artifacts, deliver, report; an exception reports first, so that the run is handed back at once
    cleanup     release all resources

The machine decides the next state, and the driver performs it; this file has only the work. A subclass can have a chart
of its own, with one step for each of its states.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.driver import Driver, Step
from taskrunner.errors import Bug, ClaimLost, Complaint, MalformedPayload, Unavailable, WorkerBroken
from taskrunner.files.untrusted import has_room, remove_folder
from taskrunner.interfaces.platform import Platform, RunContext
from taskrunner.interfaces.results import Results
from taskrunner.machines.chart import Move, Signal
from taskrunner.machines.machine import Machine
from taskrunner.machines.task import Attempt, TaskEvent, TaskMachine, TaskState
from taskrunner.model import Claim, Document, Progress, Resolution, Secret, Task, exception
from taskrunner.schema.task import decode_task
from taskrunner.state.journal import RunFolder
from taskrunner.worker.artifact_upload import collect
from taskrunner.worker.error_mapping import resolution_of, signal_of, signal_of_loss
from taskrunner.worker.lease import KeptClaim
from taskrunner.worker.observer import RunView
from taskrunner.worker.resources import Resources
from taskrunner.worker.run_record import FEED_LIMIT, RunRecord, carries_logs
from taskrunner.worker.services import Services
from taskrunner.worker.timers import Timers, at

READ_LIMIT = 120.0
"""Seconds to decode a task and open its platform, which has a limit of its own; this one holds for a hang elsewhere."""

UPLOAD_LIMIT = 3600.0
"""Seconds for artifacts, delivery and report together: an image of 10 GB at 3 MB/s."""

CLEANUP_LIMIT = 1200.0
"""Seconds. Each resource has a limit of its own (`resources.RELEASE_LIMIT`); this one holds for all of them."""

REMOVE_LIMIT = 300.0
"""Seconds to remove a run's folder: a million files take about a minute on a slow disk."""

REJECT_DELAY = 10.0
"""Seconds until a run is offered again after its platform rejected it: longer than the health check needs."""


@attrs.define(eq=False)
class TaskRun:
    """Owns the state of one run. All others send it events."""

    machine_class: ClassVar[type[Machine[Attempt]]] = TaskMachine
    """A subclass with a chart of its own names it here, and gives each of its states a step in `steps`."""

    services: Services
    kept: KeptClaim
    slot: int = 0
    broken: WorkerBroken | None = None
    """The error that stops the worker, if this run raised one."""
    machine: Machine[Attempt] = attrs.field(init=False)
    driver: Driver = attrs.field(init=False)
    record: RunRecord = attrs.field(init=False)
    task: Task = attrs.field(init=False)
    payload: Any = None
    """An instance of the platform's own class."""
    result: Document = attrs.field(init=False, factory=dict)
    """The engine's result, as JSON values."""
    _details: Document = attrs.field(init=False, factory=dict)
    """`Results.details`: the steps of the run."""
    _resources: Resources = attrs.field(init=False)
    _platform: Platform[Any, Any] = attrs.field(init=False)
    _timers: Timers = attrs.field(init=False, factory=Timers)

    def __attrs_post_init__(self) -> None:
        self.record = RunRecord(RunFolder(self.services.home, self.claim.run), self.claim)
        self.task = Task(id=self.claim.task_id, platform="")
        self._resources = Resources(self.kept.calls)
        self.machine = self.machine_class(Attempt(answers_cancel=self.services.queue.capabilities.answers_cancel))
        self.driver = Driver(
            self.machine,
            self.steps(),
            explain=self._explain,
            on_move=self._moved,
            on_late_error=self._report_late_error,
        )

    def steps(self) -> Mapping[str, Step]:
        """The work of each state that is not final."""
        return {
            TaskState.CLAIMED: Step(self._read, limit=READ_LIMIT),
            TaskState.LOADING: Step(self._load),
            TaskState.RUNNING: Step(self._execute),
            TaskState.UPLOADING: Step(self._upload, limit=UPLOAD_LIMIT),
            TaskState.CLEANUP: Step(self._clean_up, limit=CLEANUP_LIMIT),
        }

    @property
    def claim(self) -> Claim:
        return self.kept.claim

    @property
    def attempt(self) -> Attempt:
        return self.machine.model

    @property
    def results(self) -> Results | None:
        """The results of the command, from its end until the clean-up."""
        return self._resources.results

    @property
    def view(self) -> RunView:
        return RunView(self.claim, self.slot, self.task.name)

    @property
    def resolution(self) -> Resolution:
        """The resolution so far, with exit code and result."""
        ending = self.attempt.resolution or exception("internal-error", "the run ended without saying how")
        return self.record.hide(
            attrs.evolve(ending, exit_code=self.attempt.exit_code, result={**self._details, **self.result})
        )

    def tell(self, event: TaskEvent, **data: Any) -> None:
        """Sends the run an event from outside. Never raises; after its end, nothing happens."""
        self.driver.tell(Signal(event, data))

    async def run(self) -> Resolution:
        """Runs to the end and returns the resolution. Raises only CancelledError."""
        self._timers.after(self.kept.pause, "claim", self._begin_reclaiming)
        if carries_logs(self.services.queue):
            self._timers.start("log", self._feed_log())
        try:
            await self.driver.run()
        finally:
            await self._timers.stop()
            self.record.close_log(self.resolution)
            self.record.journal.close()
        return self.resolution

    # ---- the work of each state -------------------------------------------------------------------------

    async def _read(self) -> Signal:
        self.record.log.say(f"task {self.claim.run} on worker {self.claim.worker_id}")
        self.task, self.payload = decode_task(
            {**self.claim.document, "id": self.claim.task_id}, self.services.platforms.payloads
        )
        if self.task.deadline:
            self._timers.start("deadline", at(self.task.deadline, self._pass_deadline))
        self._platform = await self.services.platforms.get(self.task.platform)
        if self.task.source and not self._platform.takes_source:
            fix = "remove it, and let the task fetch its files"
            raise MalformedPayload(Complaint("source", f"the {self.task.platform} platform fetches no files", fix))
        self._platform.check(self.payload)
        on_exit = self.task.on_exit_status
        return Signal(
            TaskEvent.BEGIN, {"retry_on": frozenset(on_exit.retry), "purge_on": frozenset(on_exit.purge_caches)}
        )

    async def _load(self) -> Signal:
        self._timers.after(self.task.max_run_time, "run time", self._run_too_long)
        self.record.folder.work.mkdir(parents=True, mode=0o700)
        context = self._context()
        try:
            self._resources.engine = engine = await self._platform.new_engine(context)
        except Unavailable as unavailable:
            return Signal(TaskEvent.REJECT, {"after": REJECT_DELAY, "message": unavailable.message})
        await engine.load(self.payload)
        caches = self.services.caches(self.task.platform)
        for cache in self.task.caches:
            lease = await (caches.shared if cache.read_only else caches.exclusive)(cache.name)
            self._resources.leases.append(lease)
            await engine.attach_cache(lease.folder, cache.path, read_only=cache.read_only)
        return Signal(TaskEvent.LOADED)

    async def _execute(self) -> Signal:
        if self._resources.engine is None:
            raise Bug("running without an engine")
        execution = await self._resources.engine.start(self._environment())
        self._resources.started(execution)
        try:
            results = await execution.wait()
        except asyncio.CancelledError:
            await self._resources.stop(keep=self.attempt.keeps)
            self._details = self.results.details if self.results else {}
            raise
        self._resources.finished(results)
        self._details = results.details
        return Signal(
            TaskEvent.EXITED, {"code": results.exit_code, "reason": results.reason, "message": results.message}
        )

    async def _upload(self) -> Signal:
        await self._timers.stop("run time", "deadline")
        if self.attempt.reports_first:
            await self._close_log()
            await self._report()
            await self._collect(best_effort=True)
            await self._keep_log()
        else:
            await self._collect(best_effort=False)
            await self._deliver()
            await self._close_log()
            await self._keep_log()
            await self._report()
        return Signal(TaskEvent.UPLOADED)

    async def _clean_up(self) -> Signal:
        await self._timers.stop("run time", "deadline")
        if self.attempt.owes_report:
            await self._report()
        await self._timers.stop("claim")
        leaks = await self._resources.release(commit_caches=self.attempt.commits_caches)
        for leak in [*leaks, *await self._remove_folder()]:
            self.services.observer.warn(f"{self.claim.run} has left something behind: {self.record.log.hide(leak)}")
        await self._close_log()
        return Signal(TaskEvent.CLEANED)

    # ---- parts of the work ------------------------------------------------------------------------------

    def _context(self) -> RunContext:
        return RunContext(
            task=self.task,
            run=self.claim.run,
            folder=self.record.folder.work,
            log=self.record.log,
            caches=self.services.engine_caches,
            reveal=self._reveal,
            progress=self._progressed,
        )

    def _reveal(self, secret: Secret) -> str:
        value = self.services.reveal(secret)
        self.record.log.mask(value)
        return value

    def _environment(self) -> dict[str, str]:
        secrets = {name: self._reveal(secret) for name, secret in self.task.secrets.items()}
        return {**self.task.env, **secrets, "TASK_ID": self.claim.task_id, "RUN_ID": str(self.claim.run_id)}

    async def _collect(self, *, best_effort: bool) -> None:
        if self.results is None or not self.task.artifacts or not self.attempt.collects:
            return
        store = self.services.queue.artifacts(self.claim) or self.services.store
        await self._or_fail(
            collect(
                self.task.artifacts,
                self.results,
                store,
                self.claim.run,
                self.record.log.say,
                self._progressed,
                best_effort=best_effort,
            )
        )

    async def _deliver(self) -> None:
        if self.results and self.attempt.delivers:
            await self._or_fail(self._take_result(self.results))

    async def _take_result(self, results: Results) -> None:
        self.result = await results.deliver()

    async def _or_fail(self, work: Awaitable[None]) -> None:
        """Does a part of the upload. A failure replaces the resolution `completed`."""
        try:
            await work
        except Exception as error:  # noqa: BLE001  the resolution must be reported after any error
            self.record.describe(error)
            self.tell(TaskEvent.UPLOAD_FAILED, resolution=resolution_of(error))

    async def _close_log(self) -> None:
        """Ends the log. Its readers get the end before the resolution is reported."""
        if not self.record.closed:
            self.record.close_log(self.resolution)
        await self._timers.finish("log", within=FEED_LIMIT)

    async def _keep_log(self) -> None:
        """Puts the log into the store. A failure is only a warning: the spool still has the log."""
        try:
            await self.record.keep_log(self.services.store)
        except Exception as error:  # noqa: BLE001  an error of the store must not fail a task
            self.services.observer.warn(f"the log of {self.claim.run} could not be kept: {error}")

    async def _report(self) -> None:
        """Reports the resolution, or releases the run. A lost claim is an event like any other."""
        await self._timers.stop("claim")
        resolution = self.resolution
        if not has_room(self.services.home):  # the queue may be on the disk that the task has filled
            await self._remove_folder()
        try:
            if self.attempt.release_delay is not None:
                await self.kept.release(self.attempt.release_delay, resolution.reason)
            else:
                await self.kept.resolve(resolution)
        except ClaimLost as lost:
            self.driver.tell(signal_of_loss(lost))
        else:
            self.tell(TaskEvent.REPORTED)

    async def _remove_folder(self) -> list[str]:
        """Removes the run's folder. Returns a line for each file that could not be removed."""
        work = self.record.folder.work
        try:
            work.rmdir()  # as a rule the engine has emptied the folder, and a thread would cost more
        except FileNotFoundError:
            return []
        except OSError:
            return await self._remove_full_folder(work)
        return []

    async def _remove_full_folder(self, work: Path) -> list[str]:
        try:
            return await run_blocking(lambda: remove_folder(work), limit=REMOVE_LIMIT, doing=f"removing {work}")
        except OverLimit as error:
            return [str(error)]

    # ---- events from outside ----------------------------------------------------------------------------

    def _begin_reclaiming(self) -> None:
        self._timers.start("claim", self._keep_claim())

    async def _keep_claim(self) -> None:
        try:
            await self.kept.keep()
        except ClaimLost as lost:
            self.driver.tell(signal_of_loss(lost))
        except Exception as error:  # noqa: BLE001  a run whose claim is not kept must not go on
            self.driver.tell(self._explain(error))

    async def _feed_log(self) -> None:
        try:
            await self.record.feed(self.services.queue)
        except Exception as error:  # noqa: BLE001  an error of a log reader must not fail a task
            self.services.observer.warn(f"the log of {self.claim.run} is not passed on: {error}")

    def _run_too_long(self) -> None:
        limit = self.task.max_run_time
        self.tell(TaskEvent.TIMEOUT, message=f"it took longer than its max_run_time of {limit} s and was stopped")

    def _pass_deadline(self) -> None:
        deadline = f"{self.task.deadline:%Y-%m-%d %H:%M:%S} UTC"
        self.tell(TaskEvent.DEADLINE, message=f"its deadline, {deadline}, has passed")

    # ---- reports to others ------------------------------------------------------------------------------

    def _moved(self, move: Move) -> None:
        self.record.moved(move)
        self.services.observer.moved(self.view, move)

    def _progressed(self, progress: Progress) -> None:
        self.services.observer.progress(self.view, progress)

    def _explain(self, error: BaseException) -> Signal:
        self.record.describe(error)
        if isinstance(error, WorkerBroken):
            self.broken = error
        return signal_of(error)

    def _report_late_error(self, error: BaseException) -> None:
        self.record.describe(error)
        self.services.observer.warn(f"{self.claim.run}: {self.record.log.hide(str(error))}")
