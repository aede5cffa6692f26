"""A home whose worker, in a process of its own, claims from the server of a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from tests.support.command_line import CommandResult
from tests.support.e2e import LIMIT, Site, WorkerProcess
from tests.support.taskcluster.server import ACCESS_TOKEN, CLIENT_ID, QUEUE, TaskclusterServer

CONFIG = """\
[queue.taskcluster]
root_url = "{root_url}"
client_id = "{client_id}"
access_token = {{ secret = "taskcluster" }}
worker_group = "rack-1"
worker_id = "w-1"

[secrets]
taskcluster = {{ env = "TC_ACCESS_TOKEN" }}
"""


@attrs.define(eq=False)
class TaskclusterSite(Site):
    """A home whose worker claims from a server of the test."""

    server: TaskclusterServer = attrs.field(kw_only=True)

    def start(self, *arguments: str, more: str = "") -> WorkerProcess:
        self.configure(CONFIG.format(root_url=self.server.url, client_id=CLIENT_ID) + more)
        self.variables["TC_ACCESS_TOKEN"] = ACCESS_TOKEN
        return self.worker("--queue", self.url, *arguments)

    @property
    def url(self) -> str:
        return f"taskcluster://127.0.0.1:{self.server.port}/{QUEUE}"

    def asked(self, verb: str, *arguments: str) -> CommandResult:
        """A verb of the command line, about this queue; after `start`."""
        return self.command(verb, *arguments, "--queue", self.url)

    def create(self, script: str, *, task_id: str = "", scopes: Sequence[str] = (), **payload: Any) -> str:
        task_id = task_id or f"t{self.token}"
        command = ["sh", "-c", script]
        whole = {"image": "taskrunner-base", "command": command, "maxRunTime": 600, **payload}
        self.server.create(task_id, whole, scopes=list(scopes))
        return task_id

    def ends(self, task_id: str, *states: str) -> None:
        """Waits until the runs of a task have these states."""
        self.server.wait_until(lambda: self.server.runs(task_id) == list(states), LIMIT)

    def has_log(self, task_id: str, run_id: int = 0) -> str:
        """The log at the queue, once it is there."""
        name = "public/logs/live_backing.log"
        self.server.wait_until(lambda: "body" in self.server.artifacts(task_id, run_id).get(name, {}), LIMIT)
        return str(self.server.artifacts(task_id, run_id)[name]["body"].decode())
