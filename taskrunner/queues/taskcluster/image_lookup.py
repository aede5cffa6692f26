"""Where the image of a payload is that is an artifact: asked of the index and the queue, with the scopes of the task.

What everybody may read is asked for without credentials, as docker-worker does; else, with those of the claim.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import attrs
from taskcluster.aio import Queue

from taskrunner.errors import Complaint, MalformedPayload, Unavailable
from taskrunner.interfaces.queue import HeldClaim
from taskrunner.interfaces.queue_file import QueueFile
from taskrunner.queues.taskcluster.claim import TaskclusterClaim, credentials_of
from taskrunner.queues.taskcluster.docker_worker.images import WHERE
from taskrunner.queues.taskcluster.docker_worker.payload import ImageArtifact, TaskImage
from taskrunner.queues.taskcluster.service.answers import member, states_of
from taskrunner.queues.taskcluster.service.client import CallRefused, TaskclusterServices, anybody
from taskrunner.queues.taskcluster.service.signing import authorization

MAX_HOPS = 5
"""Redirects within Taskcluster: links from one artifact to the next."""

_DENIED = frozenset({401, 403})


@attrs.frozen
class ImageLookup:
    """One image, for one run."""

    services: TaskclusterServices
    held: HeldClaim
    image: ImageArtifact

    async def locate(self) -> QueueFile:
        """Raises: MalformedPayload, Unavailable."""
        task_id = await self._task_id()
        run_id = await self._last_run(task_id)
        name, path = f"{task_id}/{run_id}/{self.image.path}", self.image.path
        url = Queue(anybody(self.services.root_url)).buildUrl("getArtifact", task_id, str(run_id), path)
        try:
            url = await self._followed(url)
        except CallRefused as refused:
            raise MalformedPayload(self._no_artifact(task_id, run_id, refused)) from None
        return QueueFile(name, url, f"{self.services.root_url} {name}")

    async def _task_id(self) -> str:
        if isinstance(self.image, TaskImage):
            return self.image.taskId
        namespace, where = self.image.namespace, f"{WHERE}.namespace"
        try:
            return member(await self._find(namespace), "taskId", str)
        except CallRefused as refused:
            if refused.status in _DENIED:
                scope = f"index:find-task:{namespace}"
                problem = Complaint(where, f"the task lacks the scope {scope}", "add it to task.scopes")
            else:
                problem = Complaint(where, f"the index has no such task: {refused}", "check the name")
        raise MalformedPayload(problem)

    async def _find(self, namespace: str) -> object:
        try:
            return await self.services.find_task(None, (), namespace)
        except CallRefused as refused:
            if refused.status not in _DENIED:
                raise
        return await self.services.find_task(credentials_of(self.held()), self._scopes(), namespace)

    async def _last_run(self, task_id: str) -> int:
        """The run that has the artifact. Its number is a part of what names the content."""
        try:
            runs = len(list(states_of(await self.services.queue(self.services.own, "status", task_id))))
        except CallRefused as refused:
            if refused.status != 404:  # noqa: PLR2004  HTTP's "not found"
                raise Unavailable(f"the queue does not tell the runs of {task_id}: {refused}") from None
            runs = 0
        if not runs:
            raise MalformedPayload(Complaint(WHERE, f"there is no task {task_id} that has run", "check the task"))
        return runs - 1

    async def _followed(self, url: str) -> str:
        """The place outside of Taskcluster, or one inside of it that needs no credentials. Raises CallRefused."""
        home = urlsplit(self.services.root_url)[:2]
        for _ in range(MAX_HOPS):
            url = await self._location(url)
            if urlsplit(url)[:2] != home or "/api/queue/" not in url:
                return url
        raise CallRefused(424, "it is a link that leads to no file")

    async def _location(self, url: str) -> str:
        try:
            return await self.services.artifact_location(url, "")
        except CallRefused as refused:
            if refused.status not in _DENIED:
                raise
        credentials = credentials_of(self.held())
        header = authorization(credentials, self.services.root_url, self._scopes(), "GET", url)
        return await self.services.artifact_location(url, header)

    def _scopes(self) -> list[str]:
        claim = self.held()
        return claim.scopes_of_run() if isinstance(claim, TaskclusterClaim) else []

    def _no_artifact(self, task_id: str, run_id: int, refused: CallRefused) -> Complaint:
        where = f"{WHERE}.path"
        if refused.status in _DENIED:
            return Complaint(
                where, f"the task lacks the scope queue:get-artifact:{self.image.path}", "add it to task.scopes"
            )
        return Complaint(where, f"run {run_id} of task {task_id} has no such file: {refused}", "check the artifact")
