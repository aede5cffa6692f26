"""What a payload asks for and this worker does not do, or its author may not: each by the author's own name for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter

import attrs

from taskrunner.errors import Complaint
from taskrunner.files.glob import is_wild
from taskrunner.interfaces.artifacts import RESERVED_NAMES
from taskrunner.limits import TIME_HINT
from taskrunner.queues.taskcluster.docker_worker.isolation import beyond
from taskrunner.queues.taskcluster.docker_worker.log_names import backing_name
from taskrunner.queues.taskcluster.docker_worker.payload import Features, Payload, PayloadArtifact
from taskrunner.queues.taskcluster.docker_worker.scopes import cache_scope, satisfies
from taskrunner.queues.taskcluster.service.answers import time_of
from taskrunner.schema.validators import at_key

IGNORED_FEATURES = frozenset({"localLiveLog", "bulkLog", "artifacts"})
"""On by default in docker-worker, and always on here."""

SUPPORTED_FEATURES = frozenset({"taskclusterProxy", "allowPtrace"})

_FEATURE_FIXES = {
    "interactive": "leave it out; whoever operates the worker opens a shell by `taskrunner exec`",
    "dind": "leave it out, or use a worker type that has it",
    "dockerSave": "leave it out, or save the image by the task's own means",
    "chainOfTrust": "leave it out: this worker has no key to sign with",
}

_LACKING = ("disableSeccomp", "devices.loopbackVideo", "devices.loopbackAudio")
"""Capabilities of docker-worker that no container gets here, whatever the operator allows."""


def refusals(payload: Payload, scopes: tuple[str, ...], task_queue: str) -> Iterator[Complaint]:
    """`scopes` are those of the task, which is in `task_queue`."""
    yield from _feature_refusals(payload.features)
    yield from _capability_refusals(payload)
    for each in beyond(payload):
        if not any(satisfies(scopes, scope) for scope in each.scopes_in(task_queue)):
            yield Complaint(each.field, f"the task lacks the scope {each.scope}", "add it to task.scopes")
    yield from _cache_refusals(payload.cache, scopes)
    for name, artifact in payload.artifacts.items():
        where = at_key("payload.artifacts", name)
        yield from _artifact_refusals(where, artifact)
        yield from _name_refusals(where, name, payload.log)


def _feature_refusals(features: Features) -> Iterator[Complaint]:
    for name, wanted in attrs.asdict(features).items():
        if wanted and name not in IGNORED_FEATURES | SUPPORTED_FEATURES:
            yield Complaint(f"payload.features.{name}", "this worker does not have this feature", _FEATURE_FIXES[name])


def _capability_refusals(payload: Payload) -> Iterator[Complaint]:
    for name in _LACKING:
        if attrgetter(name)(payload.capabilities):
            fix = "leave it out, or use a worker type that has it"
            yield Complaint(f"payload.capabilities.{name}", "this worker gives no container this capability", fix)


def _cache_refusals(caches: Mapping[str, str], scopes: tuple[str, ...]) -> Iterator[Complaint]:
    for name, path in caches.items():
        where = at_key("payload.cache", name)
        if not satisfies(scopes, cache_scope(name)):
            yield Complaint(where, f"the task lacks the scope {cache_scope(name)}", "add it to task.scopes")
        if not path.startswith("/"):
            yield Complaint(where, "is no absolute path", "write the full path in the container")


def _artifact_refusals(where: str, artifact: PayloadArtifact) -> Iterator[Complaint]:
    if not artifact.path.startswith("/"):
        yield Complaint(f"{where}.path", "is no absolute path", "write the full path in the container")
    if is_wild(artifact.path):
        fix = "name a directory without these characters that has the file"
        yield Complaint(f"{where}.path", "has one of * ? [, which this worker takes for a pattern", fix)
    if artifact.expires is not None and time_of(artifact.expires) is None:
        yield Complaint(f"{where}.expires", "is no time of day", TIME_HINT)


def _name_refusals(where: str, name: str, log: str) -> Iterator[Complaint]:
    if name in {log, backing_name(log)}:
        yield Complaint(where, "is the name of the task's log", "give the artifact another name, or set payload.log")
    elif name in RESERVED_NAMES:
        yield Complaint(where, "is a name that this worker keeps for itself", "give the artifact another name")
