"""Which worker of this home runs a task, and in words why none does."""

from __future__ import annotations

from pathlib import Path

import attrs

from taskrunner.cli.exit_status import REFUSED
from taskrunner.cli.shared_options import chosen_run, found_status, listed, load_config, submitter
from taskrunner.cli.verb import CommandError
from taskrunner.errors import TaskrunnerError, Unavailable, UnknownTask
from taskrunner.model import RunKey, TaskStatus
from taskrunner.state.worker_lock import dead_workers, live_workers
from taskrunner.worker.door.client import ask


@attrs.frozen
class ExecTarget:
    """A run, and the worker that has it."""

    worker_id: str
    run: RunKey


async def find_target(home: Path, task_id: str, run_id: int | None) -> ExecTarget:
    """The run of a task, named by its id, or by a beginning that only one running task has.

    Raises: CommandError (`REFUSED`), which says where the task is instead.
    """
    try:
        return await _find(home, task_id, run_id)
    except CommandError as error:
        raise CommandError(error.message, REFUSED) from None


async def _find(home: Path, task_id: str, run_id: int | None) -> ExecTarget:
    targets, silent = await _all_targets(home)
    found = [each for each in targets if run_id in {None, each.run.run_id}]
    chosen = [each for each in found if each.run.task_id == task_id]
    chosen = chosen or [each for each in found if each.run.task_id.startswith(task_id)]
    if len(chosen) > 1:
        raise CommandError(f"several running tasks begin so: {listed([str(each.run) for each in chosen])}")
    if chosen:
        return chosen[0]
    raise CommandError("\n".join([await _explain(home, task_id, run_id), *silent]))


async def _all_targets(home: Path) -> tuple[list[ExecTarget], list[str]]:
    targets, silent = [], []
    for worker_id in live_workers(home):
        try:
            report = await ask(home, worker_id, "status")
        except Unavailable as unavailable:
            silent.append(str(unavailable))
        else:
            targets += [ExecTarget(worker_id, RunKey(run["task_id"], run["run_id"])) for run in report["runs"]]
    return targets, silent


async def _explain(home: Path, task_id: str, run_id: int | None) -> str:
    """Where a task is that runs on no worker of this home, as far as its queue says so."""
    try:
        async with submitter(load_config(None)) as tasks:
            status = await found_status(tasks, task_id)
    except UnknownTask as unknown:
        return str(unknown)
    except (CommandError, TaskrunnerError):  # the queue is no place to ask, or does not answer
        return f"no worker on {home} runs a task {task_id}"
    chosen_run(status, run_id)
    return f"{status.task_id} {_place(home, status)}"


def _place(home: Path, status: TaskStatus) -> str:
    if status.state == "pending":
        return "is pending: no worker runs it yet"
    if status.resolution:
        return f"does not run any more: {status.resolution}"
    last = status.runs[-1] if status.runs else None
    worker = f"worker {last.worker_id}" if last else "a worker"
    if last and last.worker_id in dead_workers(home):
        return f"ran on {worker}, which has died: the next worker on {home} removes what is left, and hands it back"
    there = f"TASKRUNNER_HOME={last.home}" if last and last.home and Path(last.home) != home else "its machine"
    return f"runs on {worker}, which is not on {home}: call this on {there}"
