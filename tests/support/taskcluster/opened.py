"""A queue that is connected to the server of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from taskrunner.model import Claim
from taskrunner.queues.taskcluster.options import KnownAs, TaskQueueAddress
from taskrunner.queues.taskcluster.queue import TaskclusterQueue
from taskrunner.queues.taskcluster.service.credentials import Credentials
from tests.support.taskcluster.server import ACCESS_TOKEN, CLIENT_ID, QUEUE, TaskclusterServer

PAYLOAD = {"image": "alpine:3", "maxRunTime": 60}


@asynccontextmanager
async def opened(server: TaskclusterServer, token: str = ACCESS_TOKEN) -> AsyncIterator[TaskclusterQueue]:
    queue = TaskclusterQueue(
        TaskQueueAddress(server.url, QUEUE), Credentials(CLIENT_ID, token), "worker-1", KnownAs("group", "w-1")
    )
    try:
        yield queue
    finally:
        await queue.close()


async def claimed(
    queue: TaskclusterQueue, server: TaskclusterServer, payload: Any = None, *, task_id: str = "one", **task: Any
) -> Claim:
    """The claim of a new task."""
    server.create(task_id, PAYLOAD if payload is None else payload, **task)
    [claim] = await queue.claim(1, lease=60, wait=0)
    return claim
