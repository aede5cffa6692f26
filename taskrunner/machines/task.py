"""The life of one run.

Theory of operation. A run moves forward only::

    claimed → loading → running → uploading → cleanup → resolved

The work of each state ends with an event of its own (`begin`, `loaded`, `exited`, `uploaded`, `cleaned`). An error that
the work raises is an event too, by its type: `failed`, `malformed` or `fatal`. `reported` says that the queue has taken
the resolution, and `upload_failed` that one part of an upload failed while the others go on. `vacated` says that the
slot is free, since nothing of the run is alive: it is only answered, if a caller waits for that, and removed. The other
events come from outside, at any time, in any state. Seven rules decide everything:

1. Every move is forward, so every run ends; the event of an error moves in every state.
2. The first cause decides the resolution. `completed` is no cause until it has been reported: until then, any failure
   replaces it.
3. A lost claim beats every cause: nothing is reported, nothing is uploaded, caches are discarded. A cancellation comes
   from the queue, and counts as a lost claim.
4. Every run whose claim is valid goes through `uploading`, where its resolution is reported: before the upload if it is
   an exception, so that the run is handed back at once, and after it otherwise. A caller that waits for an answer gets
   it after everything that is kept.
5. The results of a run are kept when it was stopped for its time or by a fault (`timeout`, `deadline`, `fatal` while
   running), and discarded when its claim was lost or the run is handed back.
6. A run that is stopped before its command has begun (`reject`, or `shutdown` while `claimed` or `loading`) is
   released: that costs the task no retry.
7. The consequences of an end are outcomes of the machine (`reports_first`, `collects`, `delivers`, `owes_report`,
   `commits_caches`): the shell reads them and decides nothing.

Two events look alike and have different ends: `timeout` (the run took longer than its `max_run_time`) ends as failed,
since the task is the cause; `deadline` (a time of day) ends as an exception, since the result has no use any more.
"""

from __future__ import annotations

from enum import StrEnum

import attrs
from statemachine import State

from taskrunner.machines.chart import Chart, stay
from taskrunner.machines.machine import Machine
from taskrunner.model import COMPLETED, Resolution, exception, failed


class TaskState(StrEnum):
    """Where a run is."""

    CLAIMED = "claimed"
    LOADING = "loading"
    RUNNING = "running"
    UPLOADING = "uploading"
    CLEANUP = "cleanup"
    RESOLVED = "resolved"


class TaskEvent(StrEnum):
    """The events of a run: the results of its own work, then the events from outside."""

    BEGIN = "begin"
    LOADED = "loaded"
    EXITED = "exited"
    FAILED = "failed"
    UPLOAD_FAILED = "upload_failed"
    REPORTED = "reported"
    VACATED = "vacated"
    UPLOADED = "uploaded"
    CLEANED = "cleaned"

    CANCEL = "cancel"
    RECLAIM_FAILED = "reclaim_failed"
    SHUTDOWN = "shutdown"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    MALFORMED = "malformed"
    REJECT = "reject"
    FATAL = "fatal"


@attrs.define
class Attempt:
    """The state of a run and the data beside it. Only the machine's actions write to it."""

    state: str | None = None
    answers_cancel: bool = False
    """Whether a cancelled run is reported all the same, since its caller waits for an answer."""
    retry_on: frozenset[int] = frozenset()
    """Exit codes after which the task is tried again."""
    purge_on: frozenset[int] = frozenset()
    """Exit codes after which the caches of the run are discarded."""
    exit_code: int | None = None
    """Exit code of the command, once it has ended by itself."""
    resolution: Resolution | None = None
    lost: bool = False
    """Whether the claim is lost."""
    reported: bool = False
    """Whether the queue has taken the resolution, which cannot change any more."""
    vacated: bool = False
    """Whether its slot is free: nothing of the run is alive."""
    release_delay: float | None = None
    """Seconds until the queue may grant the run again, when it is released instead of resolved."""
    keeps: bool = False
    """Whether the results are kept although the run was stopped."""
    reports_first: bool = False
    """Whether the resolution is reported before the upload."""

    @property
    def collects(self) -> bool:
        """Whether artifacts are uploaded."""
        return self.keeps or (self.resolution is not None and self.resolution.kind != "exception")

    @property
    def delivers(self) -> bool:
        """Whether the engine delivers its result: only after a success."""
        return self.resolution is not None and self.resolution.kind == "completed"

    @property
    def owes_report(self) -> bool:
        """Whether the resolution must still be reported: after a fault while uploading, or to a waiting caller."""
        if self.lost:
            canceled = self.resolution is not None and self.resolution.reason == "canceled"
            return canceled and self.answers_cancel
        return not self.reported

    @property
    def commits_caches(self) -> bool:
        """Whether caches are kept: the command ended by itself, with an exit code that does not purge them."""
        clean = self.exit_code is not None and not self.lost and not self.keeps
        return clean and self.exit_code not in self.purge_on

    def end(self, resolution: Resolution, *, keep: bool = False) -> None:
        """Sets the resolution, unless an earlier cause has decided it."""
        if self._may_end:
            self.reports_first = resolution.kind == "exception" and not (keep and self.answers_cancel)
            self.resolution, self.keeps = resolution, keep

    def lose(self, resolution: Resolution) -> None:
        """Marks the claim as lost, unless the resolution was reported."""
        if not self.reported and not self.lost:
            self.lost, self.resolution, self.keeps = True, resolution, False

    @property
    def _may_end(self) -> bool:
        if self.lost or self.reported:
            return False
        return self.resolution is None or self.resolution.kind == "completed"

    # ---- actions, by the name that the chart gives them ----

    def begins(self, retry_on: frozenset[int] = frozenset(), purge_on: frozenset[int] = frozenset()) -> None:
        self.retry_on, self.purge_on = retry_on, purge_on

    def exits(self, code: int, reason: str = "", message: str = "") -> None:
        self.exit_code = code
        if code == 0:
            self.end(COMPLETED)
        elif code in self.retry_on:
            self.end(exception("intermittent-task", f"exit code {code} is one that this task asks to be retried on"))
        else:
            self.end(failed(reason or "exit-code", message or f"the command ended with exit code {code}"))

    def fails(self, resolution: Resolution) -> None:
        self.end(resolution)

    def uploads_partly(self, resolution: Resolution) -> None:
        if self._may_end:  # the order of upload and report was decided when the upload began
            self.resolution = resolution

    def reports(self) -> None:
        self.reported = True

    def is_canceled(self, message: str = "") -> None:
        self.lose(exception("canceled", message or "the task was canceled"))

    def loses_claim(self, why: str, message: str = "") -> None:
        message = message or "another worker may have the task now"
        self.lose(exception("claim-expired", f"the claim was lost ({why}): {message}"))

    def vacates(self) -> None:
        self.vacated = True

    def is_evicted_early(self, message: str = "") -> None:
        if self.resolution is None:
            self.release_delay = 0.0
        self.is_evicted(message)

    def is_evicted(self, message: str = "") -> None:
        self.end(exception("worker-shutdown", message or "the worker had to stop before the run was done"))

    def times_out(self, message: str) -> None:
        self.end(failed("max-run-time", message))

    def times_out_running(self, message: str) -> None:
        self.end(failed("max-run-time", message), keep=True)

    def passes_deadline(self, message: str) -> None:
        self.end(exception("deadline-exceeded", message))

    def passes_deadline_running(self, message: str) -> None:
        self.end(exception("deadline-exceeded", message), keep=True)

    def is_malformed(self, message: str) -> None:
        self.end(exception("malformed-payload", message))

    def is_rejected(self, after: float, message: str) -> None:
        if self.resolution is None:
            self.release_delay = after
        self.end(exception("resource-unavailable", message))

    def breaks(self, message: str) -> None:
        self.end(exception("internal-error", message))

    def breaks_running(self, message: str) -> None:
        self.end(exception("internal-error", message), keep=True)


class TaskChart(Chart[Attempt]):
    """The declaration: the states of a run, and the moves of each event."""

    kind = "task"

    claimed = State(initial=True)
    loading = State()
    running = State()
    uploading = State()
    cleanup = State()
    resolved = State(final=True)

    # Results of the work of a state.
    begin = claimed.to(loading, on="begins")
    loaded = loading.to(running)
    exited = running.to(uploading, on="exits")
    failed = (
        uploading.from_(claimed, loading, running, on="fails")
        | cleanup.from_(uploading, on="fails")
        | resolved.from_(cleanup, on="fails")
    )
    upload_failed = stay(uploading, on="uploads_partly")
    reported = stay(uploading, cleanup, on="reports")
    vacated = stay(uploading, cleanup, on="vacates")
    uploaded = uploading.to(cleanup)
    cleaned = cleanup.to(resolved)

    # A lost claim.
    cancel = cleanup.from_(claimed, loading, running, uploading, on="is_canceled") | stay(cleanup, on="is_canceled")
    reclaim_failed = cleanup.from_(claimed, loading, running, uploading, on="loses_claim") | stay(
        cleanup, on="loses_claim"
    )

    # An end while the claim is valid.
    shutdown = (
        uploading.from_(claimed, loading, on="is_evicted_early")
        | uploading.from_(running, on="is_evicted")
        | stay(uploading, cleanup)
    )
    timeout = (
        uploading.from_(loading, on="times_out")
        | uploading.from_(running, on="times_out_running")
        | stay(claimed, uploading, cleanup)
    )
    deadline = (
        uploading.from_(claimed, loading, on="passes_deadline")
        | uploading.from_(running, on="passes_deadline_running")
        | stay(uploading, cleanup)
    )
    malformed = (
        uploading.from_(claimed, loading, running, on="is_malformed")
        | cleanup.from_(uploading, on="is_malformed")
        | resolved.from_(cleanup, on="is_malformed")
    )
    reject = uploading.from_(claimed, loading, running, on="is_rejected") | stay(uploading, cleanup)
    fatal = (
        uploading.from_(claimed, loading, on="breaks")
        | uploading.from_(running, on="breaks_running")
        | cleanup.from_(uploading, on="breaks")
        | resolved.from_(cleanup, on="breaks")
    )


class TaskMachine(Machine[Attempt]):
    """One run: takes events, and moves as the chart declares. Its model is an Attempt."""

    chart = TaskChart
