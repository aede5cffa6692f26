"""What an operator is told about a worker: values, made at one moment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import attrs

from taskrunner.amounts import Room, less
from taskrunner.model import Progress

if TYPE_CHECKING:
    from taskrunner.runs.run import TaskRun
    from taskrunner.worker.worker import Worker


@attrs.frozen
class RunReport:
    """A run that is not over."""

    task_id: str
    run_id: int
    slot: int
    name: str
    """The title that its author gave the task; empty when it has none, or before it was decoded."""
    platform: str
    """Empty before it was decoded."""
    state: str
    age: float
    """Seconds since the claim."""
    progress: Progress | None
    """The last one that was reported."""


@attrs.frozen
class ResourceReport:
    """One resource of the worker: `memory` in bytes, `cpus` in processors, anything else as its operator counts it."""

    total: float
    """What all runs may have together."""
    used: float
    """What the runs have that are not over."""
    free: float


@attrs.frozen
class WorkerReport:
    """A worker and its runs."""

    worker_id: str
    pid: int
    host: Mapping[str, str]
    """`Host.identity`."""
    queue: str
    """`Queue.address`."""
    started: datetime
    age: float
    """Seconds since its start."""
    state: str
    state_age: float
    """Seconds since it is in this state."""
    why: str
    """The cause of a shutdown or of a pause; empty without one."""
    hands_back: bool
    """Whether a shutdown hands the runs back instead of finishing them."""
    pause_left: float | None
    """Seconds until the operator's pause ends by itself; None: it does not, or there is none."""
    capacity: int
    taken: int
    """Number of runs since the start, including those that are alive."""
    runs: tuple[RunReport, ...]
    """By slot."""
    resources: Mapping[str, ResourceReport] = attrs.field(factory=dict)
    """What `[resources]` counts, by name. Empty when nothing is counted."""


def report_of(worker: Worker) -> WorkerReport:
    load, times = worker.load, worker.times
    return WorkerReport(
        worker_id=worker.services.worker_id,
        pid=os.getpid(),
        host=dict(worker.services.identity),
        queue=worker.services.queue.address,
        started=times.started,
        age=times.age,
        state=worker.machine.at,
        state_age=times.state_age,
        why=load.why or load.pause,
        hands_back=load.immediate,
        pause_left=worker.pause_timer.left,
        capacity=load.capacity,
        taken=worker.taken,
        runs=tuple(map(_run, (*(run for _, run in sorted(worker.runs.items())), *worker.removing))),
        resources=_resources(worker.services.admission.room),
    )


def _resources(room: Room | None) -> dict[str, ResourceReport]:
    if room is None:
        return {}
    total = room.total.items
    used = less(total, room.free)
    return {name: ResourceReport(total[name], used[name], room.free[name]) for name in total}


def _run(run: TaskRun) -> RunReport:
    return RunReport(
        task_id=run.claim.task_id,
        run_id=run.claim.run_id,
        slot=run.slot,
        name=run.task.name,
        platform=run.task.platform,
        state=run.machine.at,
        age=run.record.age,
        progress=run.latest_progress,
    )
