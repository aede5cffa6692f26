"""Documents to tasks: the common fields of every task, and the payload of its platform."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import attrs

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import DOCUMENT_HINT, MAX_DOCUMENT
from taskrunner.model import Document, Submission, Task
from taskrunner.schema.canonical import canonical_json
from taskrunner.schema.decode import decode, suggestion
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
    task = _collected(complaints, lambda: _common_fields(document))
    payload = _collected(complaints, lambda: _payload(document, payload_classes))
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


def _collected(complaints: list[Complaint], make: Callable[[], T]) -> T | None:
    try:
        return make()
    except MalformedPayload as error:
        complaints += error.complaints
        return None


def _common_fields(document: Document) -> Task:
    task = decode(Task, {"id": new_task_id()} | {k: v for k, v in document.items() if k in TASK_FIELDS})
    if complaints := list(_contradictions(task)):
        raise MalformedPayload(*complaints)
    return task


def _payload(document: Document, payload_classes: Mapping[str, type]) -> object:
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
    for name in _repeated(cache.name for cache in task.caches):
        yield Complaint("caches", f"{name} is named twice", "use a cache once in a task")
    for path in _repeated(cache.path.rstrip("/") for cache in task.caches):
        yield Complaint("caches", f"{path} is the place of two caches", "give every cache its own path")
    for name in sorted(task.secrets.keys() & task.env.keys()):
        yield Complaint(f"secrets.{name}", "is in env too", "leave it out of one of them")


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
