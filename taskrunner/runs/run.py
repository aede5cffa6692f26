"""One run, from its claim to its resolution: the work of each state of the task machine.

    claimed     decode the task, open its platform
    loading     wait for the resources of the machine, make the engine, load the payload, attach caches, mounts,
                proxies and services
    running     start the execution, wait for its end
    uploading   collect artifacts, deliver, report; an exception reports first, so that the run is handed back at once
    cleanup     kill what is alive, report if that is owed, and remove what is dead

A peer that waits for an answer gets everything else before it (`runs/queue_report.py`); the slot is free then.

The machine decides the next state, and the driver performs it; this file has only the work. A subclass can have a chart
of its own, with one step for each of its states.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import attrs

from taskrunner.content.artifact_origin import Artifacts
from taskrunner.content.provision import ContentSource
from taskrunner.driver import Driver, Step
from taskrunner.errors import (
    Bug,
    ClaimLost,
    MalformedPayload,
    NotSupported,
    Reject,
    Unavailable,
    WorkerBroken,
    machine_fault,
)
from taskrunner.files.private import make_private_folder
from taskrunner.files.untrusted import has_room
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.platform import Platform, RunContext
from taskrunner.interfaces.results import Results
from taskrunner.machines.chart import Refused, Signal
from taskrunner.machines.machine import Machine
from taskrunner.machines.task import Attempt, TaskEvent, TaskMachine, TaskState
from taskrunner.model import Claim, Document, Move, Progress, Resolution, Secret, Task, exception
from taskrunner.runs.admission import Share
from taskrunner.runs.attachments import attach_caches, attach_mounts, attach_proxies, attach_services
from taskrunner.runs.error_mapping import signal_of, signal_of_loss
from taskrunner.runs.lease import KeptClaim
from taskrunner.runs.observer import RunView
from taskrunner.runs.operator.attach import OperatorAttach
from taskrunner.runs.operator.exec import OperatorExecs
from taskrunner.runs.queue_report import QueueReport
from taskrunner.runs.resources import Resources, remove_work_folder
from taskrunner.runs.run_record import RunRecord
from taskrunner.runs.services import Services
from taskrunner.runs.takeover import end_earlier_runs
from taskrunner.runs.timers import Timers, at
from taskrunner.runs.upload.compression import check_compressions
from taskrunner.runs.upload.run_upload import RunUpload
from taskrunner.schema.check import check_task
from taskrunner.schema.service_shares import divided
from taskrunner.state.leftovers import note_leftover
from taskrunner.state.run_folder import RunFolder, remove_link

READ_LIMIT = 120.0
"""Seconds to decode a task and open its platform, which has a limit of its own; this one holds for a hang elsewhere."""

UPLOAD_LIMIT = 3600.0
"""Seconds for artifacts, delivery and report together: an image of 10 GB at 3 MB/s."""

CLEANUP_LIMIT = 1200.0
"""Seconds. Each resource has a limit of its own (`resources.RELEASE_LIMIT`); this one holds for all of them."""

REJECT_DELAY = 10.0
"""Seconds until a run is offered again after its platform was unavailable: longer than the health check needs."""

VACATE_DELAY = 0.05
"""Seconds of removal after which the slot is freed. Most runs are removed in a millisecond, and then nothing of it
shows; the next run waits no longer than this."""


@attrs.define(eq=False)
class TaskRun:
    """Owns the state of one run. All others send it events."""

    machine_class: ClassVar[type[Machine[Attempt]]] = TaskMachine
    """A subclass with a chart of its own names it here, and gives each of its states a step in `steps`."""

    services: Services
    kept: KeptClaim
    slot: int = 0
    share: Share = attrs.field(init=False)
    """What the run has of the machine's resources."""
    broken: WorkerBroken | None = None
    """The error that stops the worker, if this run raised one."""
    on_vacated: Callable[[], None] = lambda: None
    """Called once when the slot is free before the run is over."""
    machine: Machine[Attempt] = attrs.field(init=False)
    driver: Driver = attrs.field(init=False)
    record: RunRecord = attrs.field(init=False)
    task: Task = attrs.field(init=False)
    payload: Any = None
    """An instance of the platform's own class."""
    execs: OperatorExecs = attrs.field(init=False, factory=OperatorExecs)
    attach: OperatorAttach = attrs.field(init=False, factory=OperatorAttach)
    latest_progress: Progress | None = attrs.field(init=False, default=None)
    """The last report of the engine about a step; it may come from any thread."""
    _details: Document = attrs.field(init=False, factory=dict)
    """`Results.details`: the steps of the run."""
    _resources: Resources = attrs.field(init=False)
    _platform: Platform[Any, Any] = attrs.field(init=False)
    _timers: Timers = attrs.field(init=False, factory=Timers)
    _doubted: bool = attrs.field(init=False, default=False)
    """Whether the claim may be lost already when the run begins."""
    _reporting: QueueReport = attrs.field(init=False)
    upload: RunUpload = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.record = RunRecord(RunFolder(self.services.home, self.claim.run), self.claim, self.services.identity)
        self.kept.on_reclaim = self.record.reclaimed
        self._reporting = QueueReport(self.services, self.kept, self.record)
        self.upload = RunUpload(
            self.services,
            self.record,
            self._reporting,
            self.claim.run,
            self._progressed,
            self._fail_upload,
            self._note_error,
        )
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
        self.share = self.services.admission.enter()

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
    def execution(self) -> Execution | None:
        """What runs, from its start until its end."""
        return self._resources.execution

    @property
    def view(self) -> RunView:
        return RunView(self.claim, self.slot, self.task.name)

    @property
    def resolution(self) -> Resolution:
        """The resolution so far, with exit code and result."""
        ending = self.attempt.resolution or exception("internal-error", "the run ended without saying how")
        return self.record.hide(
            attrs.evolve(ending, exit_code=self.attempt.exit_code, result={**self._details, **self.upload.result})
        )

    def tell(self, event: TaskEvent, **data: Any) -> None:
        """Sends the run an event from outside. Never raises; after its end, nothing happens."""
        self.driver.tell(Signal(event, data))

    def reclaim_now(self) -> None:
        """Renews the claim, which decides whether it is lost; of a run that has not begun, when it does. Does nothing
        once the report has begun: that decides too."""
        self._doubted = True
        self._timers.hasten("claim", self._begin_reclaiming)

    async def run(self) -> Resolution:
        """Runs to the end and returns the resolution. Raises only CancelledError."""
        self._timers.after(0.0 if self._doubted else self.kept.pause, "claim", self._begin_reclaiming)
        self._reporting.start(self.machine.at, self.resolution if self.attempt.resolution else None)
        try:
            await self.driver.run()
        finally:
            await self._reporting.stop()
            await self._timers.stop()
            self.record.close_log(self.resolution)
            self.record.journal.close()
            self.share.release()
        return self.resolution

    # ---- the work of each state -------------------------------------------------------------------------

    async def _read(self) -> Signal:
        where = "".join(f", {label} {value}" for label, value in self.services.identity.items())
        self.record.log.say(f"task {self.claim.run} on worker {self.claim.worker_id}{where}")
        if self.record.journal.replaces:
            await self._remove_earlier_artifacts()
        self.task, self.payload = check_task(
            {**self.claim.document, "id": self.claim.task_id}, self.services.platforms.classes
        )
        if complaints := self.services.queue.in_authors_words(self.claim, ()):
            raise MalformedPayload(*complaints)
        check_compressions(self.task.artifacts)
        resources = self.services.admission.effective(self.task.resources)
        self.task = attrs.evolve(self.task, resources=resources)
        if self.task.deadline:
            self._timers.start("deadline", at(self.task.deadline, self._pass_deadline))
        self._platform = await self._open_platform(self.task.platform)
        on_exit = self.task.on_exit_status
        return Signal(
            TaskEvent.BEGIN, {"retry_on": frozenset(on_exit.retry), "purge_on": frozenset(on_exit.purge_caches)}
        )

    async def _open_platform(self, name: str) -> Platform[Any, Any]:
        """One that all tasks of the queue need is a matter of the machine, and another one may take the run."""
        try:
            return await self.services.platforms.get(name)
        except Unavailable as unavailable:
            expected = self.services.queue.expected_task()
            if expected and expected["platform"] == name:
                raise Reject(REJECT_DELAY, unavailable.message) from unavailable
            raise

    async def _load(self) -> Signal:
        needed, self.task = self.task.resources, divided(self.task)
        await self.share.acquire(needed, self.record.log.say)
        self._timers.after(min(self.task.max_run_time, self.kept.run_time), "run time", self._run_too_long)
        await end_earlier_runs(self.claim, self.services.home, self.services.platforms, self.record.log.say)
        make_private_folder(self.record.folder.work)
        context = self._context()
        try:
            self._resources.engine = engine = await self._platform.new_engine(context)
        except Unavailable as unavailable:
            raise Reject(REJECT_DELAY, unavailable.message) from unavailable
        await self.services.evict_caches()
        await engine.load(self.payload)
        caches = self.services.caches(self.task.platform)
        await attach_caches(engine, self.task, caches, self._resources.leases.append)
        artifacts = Artifacts(self.services.queue, self.services.store, self.kept.calls)
        await attach_mounts(engine, self.task, ContentSource(context, artifacts), self._resources.mounted.append)
        await attach_proxies(engine, self.services.queue, lambda: self.claim, self.task.platform)
        await attach_services(engine, self.task, self._reveal)
        return Signal(TaskEvent.LOADED)

    async def _execute(self) -> Signal:
        if self._resources.engine is None:
            raise Bug("running without an engine")
        try:
            execution = await self._resources.engine.start(self._environment(), stdin=self.task.interactive)
            self._resources.started(execution)
        finally:
            self.execs.started.set()
        try:
            results = await execution.wait()
            self._resources.finished(results)
        except asyncio.CancelledError:
            await self._resources.stop()
            self._details = self.results.details if self.results else {}
            raise
        finally:
            self.attach.command_ended(self)
        self._details = results.details
        return Signal(
            TaskEvent.EXITED, {"code": results.exit_code, "reason": results.reason, "message": results.message}
        )

    async def _upload(self) -> Signal:
        await self._timers.stop("run time", "deadline")
        self._remove_link()
        if self.attempt.reports_first:
            await self._end_log()
            await self._report()
            await self._collect(best_effort=True)
            await self.upload.keep_log()
            if self.services.queue.capabilities.late_artifacts:
                await self.upload.hand_over()
        else:
            await self._collect(best_effort=self.attempt.keeps)
            if self.results and self.attempt.delivers:
                await self.upload.deliver(self.results)
            await self._end_log()
            await self.upload.keep_log()
            if self.attempt.collects:
                await self.upload.hand_over()
            await self._report()
        return Signal(TaskEvent.UPLOADED)

    async def _clean_up(self) -> Signal:
        await self._timers.stop("run time", "deadline")
        leaks = await self._resources.kill()
        self._remove_link()
        if self.attempt.owes_report:
            await self._end_log()
            await self._report()
        await self._timers.stop("claim")
        await self._reporting.stop()
        self._timers.after(VACATE_DELAY, "slot", self._vacate)
        leaks += await self._resources.dispose(commit_caches=self.attempt.commits_caches)
        leaks += await remove_work_folder(self.record.folder.work)
        if leaks:
            self._note_leaks([self.record.log.hide(leak) for leak in leaks])
        if not self.record.log.finished:
            self.record.close_log(self.resolution)
        return Signal(TaskEvent.CLEANED)

    # ---- parts of the work ------------------------------------------------------------------------------

    async def _remove_earlier_artifacts(self) -> None:
        """They would pass for those of this run. Raises the errors of the store."""
        self.record.log.say("another run had this number before its queue was reset: its artifacts are removed")
        with suppress(NotSupported):
            await self.services.store.delete(self.claim.run)

    def _remove_link(self) -> None:
        """Nothing of the run is alive: what is in the place of its folder stays there."""
        if link := remove_link(self.record.folder):
            self.record.lost(
                f"the task has put a link in the place of {link.relative_to(self.services.home)}: it was removed, and "
                "what the task has moved elsewhere is not found"
            )

    def _context(self) -> RunContext:
        return RunContext(
            task=self.task,
            run=self.claim.run,
            folder=self.record.folder.work,
            log=self.record.log,
            caches=self.services.engine_caches,
            reveal=self._reveal,
            progress=self._progressed,
            source_options=self.services.source_options_for(self.claim.task_id),
            new_log=self.record.service_logs.new,
            locate=partial(self.services.queue.locate, lambda: self.claim),
        )

    def _reveal(self, secret: Secret) -> str:
        value = self.services.reveal(secret)
        self.record.log.mask(value)
        return value

    def _environment(self) -> dict[str, str]:
        secrets = {name: self._reveal(secret) for name, secret in self.task.secrets.items()}
        return {**self.task.env, **secrets, "TASK_ID": self.claim.task_id, "RUN_ID": str(self.claim.run_id)}

    async def _collect(self, *, best_effort: bool) -> None:
        if self.results and self.attempt.collects:
            await self.upload.collect(self.task, self.results, best_effort=best_effort)

    def _fail_upload(self, ending: Resolution) -> None:
        before = self.attempt.resolution
        self.tell(TaskEvent.UPLOAD_FAILED, resolution=ending)
        if self.attempt.resolution is before:
            self.record.lost(f"not everything that the run has made is kept: {ending.message}")

    def _vacate(self) -> None:
        """Frees the slot: nothing of the run is alive, and no work is left but the answer and the removal."""
        if not self.attempt.vacated:
            with suppress(Refused):  # a chart of its own may lack the event
                self.tell(TaskEvent.VACATED)

    async def _end_log(self) -> None:
        """Ends the log, and waits for its readers. A peer that waits for its answer finds the slot free from now on."""
        if not self.record.log.finished:
            self.record.close_log(self.resolution)
        if self.services.queue.capabilities.answers_cancel:
            self._vacate()
        await self._reporting.finish_log()

    async def _report(self) -> None:
        """Reports the resolution, or releases the run. A lost claim is an event like any other."""
        await self._timers.stop("claim")
        resolution = self.resolution
        if not has_room(self.services.home):  # the queue may be on the disk that the task has filled
            await remove_work_folder(self.record.folder.work)
        try:
            await self._reporting.send(resolution, self.attempt.release_delay)
        except ClaimLost as lost:
            self.driver.tell(signal_of_loss(lost))
        else:
            self.tell(TaskEvent.REPORTED)

    def _note_leaks(self, leaks: list[str]) -> None:
        """Before the run is over: from then on, the list is all that knows of them."""
        for leak in leaks:
            self.services.observer.warn(f"{self.claim.run} has left something behind: {leak}")
        self.record.left(leaks)
        try:
            note_leftover(self.services.home, self.claim.worker_id, self.claim.run, self.task.platform, leaks)
        except OSError as error:
            self.services.observer.warn(f"what {self.claim.run} has left cannot be written down: {error.strerror}")

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

    def _run_too_long(self) -> None:
        limit, hold = self.task.max_run_time, self.services.queue.capabilities.max_hold
        message = f"it took longer than its max_run_time of {limit} s and was stopped"
        if hold is not None and self.kept.run_time <= 0:
            message = f"its queue lets no run be held for longer than {hold:g} s: it was stopped to keep what it made"
        self.tell(TaskEvent.TIMEOUT, message=message)

    def _pass_deadline(self) -> None:
        deadline = f"{self.task.deadline:%Y-%m-%d %H:%M:%S} UTC"
        self.tell(TaskEvent.DEADLINE, message=f"its deadline, {deadline}, has passed")

    # ---- reports to others ------------------------------------------------------------------------------

    def _moved(self, move: Move) -> None:
        told = self.attempt.resolution if move.event in {TaskEvent.CANCEL, TaskEvent.RECLAIM_FAILED} else None
        self.record.moved(move, told.message if told else "")
        self.services.observer.moved(self.view, move)
        if self._reporting.told:
            self._reporting.moved(move, self.resolution if self.attempt.resolution else None)
        if move.event == TaskEvent.VACATED:
            self.share.release()
            self.on_vacated()

    def _progressed(self, progress: Progress) -> None:
        self.latest_progress = progress
        self.services.observer.progress(self.view, progress)
        self._reporting.progressed(progress)

    def _explain(self, error: BaseException) -> Signal:
        if isinstance(error, MalformedPayload):
            error = MalformedPayload(*self.services.queue.in_authors_words(self.claim, error.complaints))
        self._note_error(error)
        if isinstance(error, WorkerBroken):
            self.broken = error
        if isinstance(error, Reject) and self.machine.at in {TaskState.CLAIMED, TaskState.LOADING}:
            return Signal(TaskEvent.REJECT, {"after": error.after, "message": error.message})
        return signal_of(error)

    def _note_error(self, error: BaseException) -> None:
        """The log has what a developer needs, and the worker knows what says that the machine is unfit."""
        self.record.describe(error)
        if fault := machine_fault(error):
            self.services.faults.note(fault)

    def _report_late_error(self, error: BaseException) -> None:
        self._note_error(error)
        self.services.observer.warn(f"{self.claim.run}: {self.record.log.hide(str(error))}")
