"""From a task of Taskcluster to one of this project, and complaints back again, in the words of the task's author.

A payload that cannot be read becomes a task without content, with complaints. One that can be read and asks for too
much becomes a task all the same: what else is wrong with it is then found by the common checks, and all is reported
together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import LONGEST_NAME, PRINTABLE
from taskrunner.model import Document, Json
from taskrunner.queues.taskcluster.docker_worker.images import WHERE as IMAGE
from taskrunner.queues.taskcluster.docker_worker.images import image_fields, image_of, image_path
from taskrunner.queues.taskcluster.docker_worker.isolation import authors_path, beyond, isolation_fields
from taskrunner.queues.taskcluster.docker_worker.payload import DEFAULT_LOG, Payload
from taskrunner.queues.taskcluster.docker_worker.refusals import refusals
from taskrunner.queues.taskcluster.docker_worker.scopes import cache_scope
from taskrunner.queues.taskcluster.docker_worker.unknown_fields import explained
from taskrunner.queues.taskcluster.options import TaskQueueAddress
from taskrunner.queues.taskcluster.service.answers import ClaimedRun, time_of
from taskrunner.schema.decode import decode
from taskrunner.schema.validators import at_key

PLATFORM = "docker"
PROXY_NAME = "taskcluster"
"""The host name of the proxy in a container."""


@attrs.frozen
class Translation:
    """One task in both forms."""

    document: Document
    payload: Payload | None = None
    """None when it could not be read."""
    complaints: tuple[Complaint, ...] = ()
    """In the words of its author."""

    def in_authors_words(self, found: Sequence[Complaint]) -> list[Complaint]:
        """All that is wrong: what was found here, and what was found in the document."""
        if self.payload is None:
            return list(self.complaints)
        said = [attrs.evolve(each, path=self._path(each.path)) for each in found]
        return [*self.complaints, *(each for each in said if not self._has_complaint(each.path))]

    def _has_complaint(self, path: str) -> bool:
        """An image has one complaint: what could not be translated is missing in the document."""
        own = {complaint.path for complaint in self.complaints}
        return path in own or (path.startswith(IMAGE) and any(each.startswith(IMAGE) for each in own))

    def _path(self, path: str) -> str:
        """A path of the document as one of the task's definition."""
        match = re.match(r"(\w+)(?:\[(\d+)\])?(.*)", path, re.DOTALL)
        if self.payload is None or match is None or path.startswith("payload."):
            return path
        field, index, rest = match.groups()
        if field == "isolation":
            return authors_path(self.payload, path) or "payload.capabilities"
        if field in {"image", "image_file"}:
            return image_path(self.payload.image)
        if field in {"artifacts", "caches"} and index:
            table = self.payload.artifacts if field == "artifacts" else self.payload.cache
            return at_key(_PATHS[field], list(table)[int(index)]) + (
                rest if rest == ".path" and field == "artifacts" else ""
            )
        return _PATHS[field] + path.removeprefix(field) if field in _PATHS else path


_PATHS = {
    "command": "payload.command",
    "env": "payload.env",
    "max_run_time": "payload.maxRunTime",
    "artifacts": "payload.artifacts",
    "caches": "payload.cache",
    "on_exit_status": "payload.onExitStatus",
    "name": "metadata.name",
}


def translate(grant: ClaimedRun, address: TaskQueueAddress, scopes: Sequence[str]) -> Translation:
    """`address` is that of the queue which the task came from; `scopes` are its own, with those of its roles."""
    try:
        payload = decode(Payload, grant.task.get("payload"), "payload")
    except MalformedPayload as error:
        told = explained(error.complaints, grant.task.get("payload"))
        return Translation({"platform": PLATFORM}, complaints=tuple(told))
    complaints = list(refusals(payload, tuple(scopes), address.task_queue_id))
    try:
        image = image_of(payload.image)
    except MalformedPayload as error:
        complaints += error.complaints
        image = ""
    document = {**task_fields(grant.task), **_payload_fields(payload), **image_fields(image)}
    document["env"] = {**payload.env, **_implicit(grant, payload, address.root_url)}
    return Translation(document, payload, tuple(complaints))


def needed_scopes(payload: object) -> list[str]:
    """What a task needs on this worker beside its payload; nothing for one that cannot be read."""
    try:
        found = decode(Payload, payload, "payload")
    except MalformedPayload:
        return []
    return [*map(cache_scope, found.cache), *(each.scope for each in beyond(found))]


def _payload_fields(payload: Payload) -> dict[str, Json]:
    """A missing artifact does not fail a task of docker-worker: many rely on that."""
    return {
        "platform": PLATFORM,
        "command": list(payload.command),
        "max_run_time": payload.maxRunTime,
        "caches": [{"name": name, "path": path} for name, path in payload.cache.items()],
        "artifacts": [
            {"name": name, "path": artifact.path, "optional": True} for name, artifact in payload.artifacts.items()
        ],
        "isolation": isolation_fields(payload),
        "on_exit_status": {
            "retry": list(payload.onExitStatus.retry),
            "purge_caches": list(payload.onExitStatus.purgeCaches),
        },
    }


def task_fields(task: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside the payload; the queue has checked it."""
    metadata = task.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    fields: dict[str, Any] = {}
    if isinstance(name, str) and re.fullmatch(rf"{PRINTABLE}{{1,{LONGEST_NAME}}}", name):
        fields["name"] = name
    if time_of(task.get("deadline")):
        fields["deadline"] = task["deadline"]
    return fields


def _implicit(grant: ClaimedRun, payload: Payload, root_url: str) -> dict[str, str]:
    """Variables that each task gets; the worker adds TASK_ID and RUN_ID. A payload cannot change them."""
    group = grant.task.get("taskGroupId")
    given = {
        "TASK_GROUP_ID": group if isinstance(group, str) else grant.task_id,
        "TASKCLUSTER_ROOT_URL": root_url,
    }
    if payload.features.taskclusterProxy:
        given["TASKCLUSTER_PROXY_URL"] = f"http://{PROXY_NAME}"
    return given


def log_name(payload: Payload | None) -> str:
    """The name of the log's artifact."""
    return payload.log if payload else DEFAULT_LOG
