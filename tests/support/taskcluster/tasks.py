"""The tasks of the server, and what each call does to them: without HTTP, on the server's clock.

From the facts: leases, retries, what may be reported and when artifacts are accepted. Where these are silent:

- pending tasks are granted by priority, then by age; ids need not be slugids;
- the queue's own checks of a task's definition are left out, so that any payload reaches the worker;
- a repeated `reportException` is refused with 409, since only the other two are known to be idempotent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from tests.support.taskcluster.clock import ServerClock, as_text
from tests.support.taskcluster.hawk import Clients, Denied

PRIORITIES = ("highest", "very-high", "high", "medium", "low", "very-low", "lowest", "normal")
LATE = timedelta(minutes=25)
"""For which artifacts are taken after an exception."""
RETRIED = {"worker-shutdown": "retry", "intermittent-task": "task-retry", "claim-expired": "retry"}
REPORTABLE = {
    "worker-shutdown", "malformed-payload", "resource-unavailable", "internal-error", "intermittent-task", "superseded",
}  # fmt: skip


@attrs.define
class Run:
    """One run of a task."""

    state: str = "pending"
    created: str = "scheduled"
    worker: tuple[str, str] = ("", "")
    taken_until: datetime | None = None
    reason: str = ""
    started: datetime | None = None
    resolved: datetime | None = None
    artifacts: dict[str, dict[str, Any]] = attrs.field(factory=dict)


@attrs.define
class ServerTask:
    """One task."""

    task_id: str
    definition: dict[str, Any]
    retries_left: int
    runs: list[Run] = attrs.field(factory=lambda: [Run()])

    @property
    def deadline(self) -> datetime:
        return datetime.fromisoformat(self.definition["deadline"])

    def status(self) -> dict[str, Any]:
        return {
            "taskId": self.task_id, "taskQueueId": self.definition["taskQueueId"], "state": self.runs[-1].state,
            "retriesLeft": self.retries_left, "deadline": self.definition["deadline"],
            "expires": self.definition["expires"], "taskGroupId": self.definition["taskGroupId"],
            "runs": [_run_status(number, run) for number, run in enumerate(self.runs)],
        }  # fmt: skip


def _run_status(number: int, run: Run) -> dict[str, Any]:
    status: dict[str, Any] = {"runId": number, "state": run.state, "reasonCreated": run.created}
    if run.reason:
        status["reasonResolved"] = run.reason
    if run.taken_until:
        status |= {"takenUntil": as_text(run.taken_until), "workerGroup": run.worker[0], "workerId": run.worker[1]}
    if run.resolved:
        status["resolved"] = as_text(run.resolved)
    return status


def conflict(message: str) -> Denied:
    return Denied(409, message)


@attrs.define
class Tasks:
    """All tasks. Called under the server's lock."""

    clock: ServerClock
    clients: Clients
    claim_timeout: float = 1200.0
    known: dict[str, ServerTask] = attrs.field(factory=dict)
    resolves: bool = True
    """Whether the resolvers run. Without them, a late reclaim still works."""

    def find(self, task_id: str) -> ServerTask:
        if task_id not in self.known:
            raise Denied(404, f"`{task_id}` does not correspond to a task that exists.")
        return self.known[task_id]

    def resolve_due(self) -> None:
        """What the resolvers of claims and deadlines do."""
        now = self.clock.now()
        for task in self.known.values() if self.resolves else ():
            last = task.runs[-1]
            if last.state in {"pending", "running"} and now > task.deadline:
                self._end(last, "exception", "deadline-exceeded")
            elif last.state == "running" and last.taken_until and now > last.taken_until:
                self._end(last, "exception", "claim-expired")
                self._retry(task, "claim-expired")

    def claim(self, queue: str, worker: tuple[str, str], n: int) -> list[dict[str, Any]]:
        pending = [
            task
            for task in self.known.values()
            if task.definition["taskQueueId"] == queue and task.runs[-1].state == "pending"
        ]
        pending.sort(key=lambda task: PRIORITIES.index(task.definition["priority"]))
        return [self._grant(task, worker) for task in pending[:n]]

    def _grant(self, task: ServerTask, worker: tuple[str, str]) -> dict[str, Any]:
        run = task.runs[-1]
        run.state, run.worker, run.started = "running", worker, self.clock.now()
        return {**self._lease(task, run), "task": task.definition}

    def _lease(self, task: ServerTask, run: Run) -> dict[str, Any]:
        run.taken_until = self.clock.after(self.claim_timeout)
        run_id, (group, worker_id) = len(task.runs) - 1, run.worker
        name = f"task-client/{task.task_id}/{run_id}/on/{group}/{worker_id}/until/{run.taken_until.timestamp():.0f}"
        mine = f"{task.task_id}/{run_id}"
        calls = ("reclaim-task", "resolve-task", "create-artifact")
        scopes = [*(f"queue:{call}:{mine}" for call in calls), *task.definition["scopes"]]
        return {
            "status": task.status(), "runId": run_id, "workerGroup": group, "workerId": worker_id,
            "takenUntil": as_text(run.taken_until),
            "credentials": self.clients.issue(name, scopes, run.taken_until),
        }  # fmt: skip

    def reclaim(self, task_id: str, run_id: int) -> dict[str, Any]:
        task = self.find(task_id)
        run = self._running(task, run_id)
        if self.clock.now() > task.deadline:
            raise conflict("the task's deadline has been exceeded")
        return self._lease(task, run)

    def report(self, task_id: str, run_id: int, state: str, reason: str) -> dict[str, Any]:
        task = self.find(task_id)
        run = self._run(task, run_id)
        if state != "exception" and (run.state, run.reason) == (state, reason):
            return {"status": task.status()}
        self._running(task, run_id)
        if state == "exception" and reason not in REPORTABLE:
            raise Denied(400, f"reason: {reason!r} is not one of the allowed values")
        self._end(run, state, reason)
        if state == "exception":
            self._retry(task, reason)
        return {"status": task.status()}

    def cancel(self, task_id: str) -> dict[str, Any]:
        task = self.find(task_id)
        last = task.runs[-1]
        if last.state in {"pending", "running"}:
            self._end(last, "exception", "canceled")
        return {"status": task.status()}

    def create_artifact(self, task_id: str, run_id: int, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        task = self.find(task_id)
        run = self._run(task, run_id)
        late = run.state == "exception" and run.resolved and self.clock.now() <= run.resolved + LATE
        if run.state != "running" and not late:
            raise conflict(f"Artifacts cannot be created for a task after it is completed: run is {run.state}")
        if datetime.fromisoformat(wanted["expires"]) > datetime.fromisoformat(task.definition["expires"]):
            raise Denied(400, "Artifact expires (`expires`) is greater than task expires")
        old = run.artifacts.get(name)
        if old and not _may_replace(old, wanted):
            raise conflict("artifact already exists with other properties")
        run.artifacts[name] = {**wanted, **({"body": old["body"]} if old and "body" in old else {})}
        return {"storageType": wanted["storageType"]}

    def artifact(self, task_id: str, run_id: int, name: str) -> dict[str, Any]:
        """What it is, behind any links."""
        artifacts = self._run(self.find(task_id), run_id).artifacts
        while artifacts.get(name, {}).get("storageType") == "link":
            name = artifacts[name]["artifact"]
        if name not in artifacts:
            raise Denied(404, "Artifact not found")
        if artifacts[name]["storageType"] == "error":
            raise Denied(424, artifacts[name]["message"])
        return artifacts[name]

    def _run(self, task: ServerTask, run_id: int) -> Run:
        if not 0 <= run_id < len(task.runs):
            raise Denied(404, f"Run {run_id} not found on task `{task.task_id}`.")
        return task.runs[run_id]

    def _running(self, task: ServerTask, run_id: int) -> Run:
        run = self._run(task, run_id)
        if run.state != "running" or run is not task.runs[-1]:
            raise conflict(
                f"Run {run_id} on task `{task.task_id}` is resolved or not running.\n\n---\n\n* payload: {{}}"
            )
        return run

    def _end(self, run: Run, state: str, reason: str) -> None:
        run.state, run.reason, run.resolved = state, reason, self.clock.now()

    def _retry(self, task: ServerTask, reason: str) -> None:
        if reason in RETRIED and task.retries_left > 0:
            task.retries_left -= 1
            task.runs.append(Run(created=RETRIED[reason]))


def _may_replace(old: dict[str, Any], new: dict[str, Any]) -> bool:
    kinds = old["storageType"], new["storageType"]
    if kinds in {("reference", "reference"), ("reference", "link")}:
        return True
    keys: Sequence[str] = ("storageType", "contentType", "artifact", "url", "reason", "message")
    return all(old.get(key) == new.get(key) for key in keys)
