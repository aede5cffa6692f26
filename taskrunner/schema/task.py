"""Documents to tasks: the common fields of every task, and the payload of its platform."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import attrs

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.files.glob import GlobPattern
from taskrunner.limits import DOCUMENT_HINT, MAX_DOCUMENT, service_log_name
from taskrunner.model import Document, Submission, Task
from taskrunner.schema.canonical import canonical_json
from taskrunner.schema.complaints import suggestion
from taskrunner.schema.decode import decode
from taskrunner.schema.parse import kind_of, plain_value

T = TypeVar("T")

TASK_FIELDS = tuple(field.name for field in attrs.fields(Task))
"""The keys that every task has; no platform's payload may have one of them."""


def decode_task(document: Document, payload_classes: Mapping[str, type]) -> tuple[Task, object]:
    """A task and its platform's payload, both of which stand at the top level of the document.

    `payload_classes` are the payload classes by the name of their platform. A task without an id gets a new one.

    Raises: MalformedPayload with the complaints about both.
    """
    if not isinstance(document, Mapping):
        raise MalformedPayload(Complaint("", f"a task is a table, not {kind_of(document)}"))
    complaints: list[Complaint] = []
    task = collected(complaints, lambda: common_fields(document))
    payload = collected(complaints, lambda: payload_of(document, payload_classes))
    if task is None or complaints:
        raise MalformedPayload(*complaints)
    return task, payload


def submission_of(document: Document) -> Submission:
    """The submission of a task; its document has an id, which is generated when there was none.

    Lenient: a malformed field keeps its default, because the worker that claims the task reports every complaint.

    Raises: MalformedPayload for what cannot be queued at all: no table, not JSON, too large, or a bad id.
    """
    if not isinstance(document, Mapping):
        raise MalformedPayload(Complaint("", f"a task is a table, not {kind_of(document)}"))
    document = {"id": new_task_id(), **plain_value(document)}  # type: ignore[dict-item]  # a table stays one
    if len(canonical_json(document)) > MAX_DOCUMENT:
        raise MalformedPayload(Complaint("", f"is larger than {MAX_DOCUMENT} bytes as JSON", DOCUMENT_HINT))
    queued = _queued({key: document[key] for key in _QUEUED if key in document})
    return Submission(queued.pop("id"), document, **queued)


_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: in ASCII order, without letters that look like digits."""


def new_task_id() -> str:
    """A new id of 16 characters: 9 of milliseconds, so that ids sort by time, and 7 (35 bits) of chance."""
    number = (time.time_ns() // 1_000_000) << 35 | secrets.randbits(35)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(75, -1, -5))


def collected(complaints: list[Complaint], make: Callable[[], T]) -> T | None:
    """What `make` returns; when it raises MalformedPayload, its complaints are added, and the result is None."""
    try:
        return make()
    except MalformedPayload as error:
        complaints += error.complaints
        return None


def common_fields(document: Document) -> Task:
    """What each task has, whatever its platform. Raises MalformedPayload."""
    task = decode(Task, {"id": new_task_id()} | {k: v for k, v in document.items() if k in TASK_FIELDS})
    if complaints := list(_contradictions(task)):
        raise MalformedPayload(*complaints)
    return task


def payload_of(document: Document, payload_classes: Mapping[str, type]) -> object:
    """What the platform of the task needs; None when the document names none. Raises MalformedPayload."""
    platform = document.get("platform")
    if not isinstance(platform, str):
        return None  # the common fields have this complaint
    if platform not in payload_classes:
        fix = suggestion(platform, tuple(payload_classes))
        raise MalformedPayload(Complaint("platform", "this worker has no platform of that name", fix))
    payload = {key: value for key, value in document.items() if key not in TASK_FIELDS}
    return decode(payload_classes[platform], payload, known=TASK_FIELDS)


def _contradictions(task: Task) -> Iterator[Complaint]:
    """Complaints that relate several fields to each other."""
    if task.deadline and task.not_before and task.deadline <= task.not_before:
        yield Complaint("deadline", "is over before not_before", "give it a later deadline")
    for name in _repeated(artifact.name for artifact in task.artifacts):
        yield Complaint("artifacts", f"{name} is named twice", "give every artifact its own name")
    for number, artifact in enumerate(task.artifacts):
        if artifact.archive and GlobPattern.of(artifact.path):
            fix = "write the path of a folder, or leave out archive"
            yield Complaint(f"artifacts[{number}].path", "is a pattern, and an archive is of one folder", fix)
    for name in _repeated(cache.name for cache in task.caches):
        yield Complaint("caches", f"{name} is named twice", "use a cache once in a task")
    for path in _repeated(cache.path.rstrip("/") for cache in task.caches):
        yield Complaint("caches", f"{path} is the place of two caches", "give every cache its own path")
    yield from _service_contradictions(task)
    for name in sorted(task.secrets.keys() & task.env.keys()):
        yield Complaint(f"secrets.{name}", "is in env too", "leave it out of one of them")


def _service_contradictions(task: Task) -> Iterator[Complaint]:
    for name in _repeated(service.name for service in task.services):
        yield Complaint("services", f"{name} is named twice", "give every service its own name")
    for port in _repeated(str(service.ready.port) for service in task.services if service.ready.port):
        yield Complaint("services", f"port {port} is that of two services", "all of a run share one address")
    for index, service in enumerate(task.services):
        path = f"services[{index}]"
        if service.ready.port and service.ready.command:
            yield Complaint(f"{path}.ready", "has both a port and a command", "leave one of them out")
        for name in sorted(service.secrets.keys() & service.env.keys()):
            yield Complaint(f"{path}.secrets.{name}", "is in env too", "leave it out of one of them")
    logs = {service_log_name(service.name) for service in task.services}
    for index, artifact in enumerate(task.artifacts):
        if artifact.name in logs:
            yield Complaint(f"artifacts[{index}].name", f"{artifact.name} is the log of a service", "take another name")


def _repeated(names: Iterator[str]) -> Iterator[str]:
    return (name for name, times in Counter(names).items() if times > 1)


_QUEUED = ("id", "priority", "retries", "not_before", "deadline")


def _queued(part: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task that a queue reads, without the malformed ones."""
    try:
        return attrs.asdict(decode(_QueuedFields, part))
    except MalformedPayload as error:
        bad = {complaint.path: complaint for complaint in error.complaints}
    if "id" in bad:
        raise MalformedPayload(bad["id"])
    return _queued({key: value for key, value in part.items() if key not in bad})


_QueuedFields = attrs.make_class(
    "QueuedFields",
    {
        f.name: attrs.field(type=f.type, default=f.default, validator=f.validator, metadata=dict(f.metadata))
        for f in attrs.fields(attrs.resolve_types(Task))
        if f.name in _QUEUED
    },
    frozen=True,
)
