"""Documents to tasks, strictly: what is not exactly right is refused, all of it at once.

A class declares what it takes by its annotations (`str`, `int`, `float`, `bool`, `datetime`, `Secret`, `Json`,
`Literal[...]`, `X | None`, `tuple[X, ...]`, `Mapping[str, X]`, other attrs classes) and its attrs validators. Nothing
is coerced: `"yes"` is not true, `"rm"` is not a list of two texts, `1.0` is not `1`. What a field is for stands in the
docstring below it, or in `metadata={"doc": ...}`; what to write when a validator refuses a value, in
`metadata={"hint": ...}`.
"""

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
from taskrunner.schema.decode import structure, suggestion
from taskrunner.schema.parse import kind_of, plain_value

T = TypeVar("T")

TASK_FIELDS = tuple(field.name for field in attrs.fields(Task))
"""The keys that every task has in common; no platform's payload may have one of them."""


def decode(cls: type[T], document: object, path: str = "") -> T:
    """An instance of an attrs class from plain JSON values. `path` goes before the path of each complaint.

    Raises: MalformedPayload with every complaint; none of them repeats a value of the document.
    """
    return structure(cls, document, path)


def decode_task(document: Document, payload_classes: Mapping[str, type]) -> tuple[Task, object]:
    """A task and its platform's payload, both of which stand at the top level of the document.

    `payload_classes` are the payload classes by the name of their platform. A task without an id gets a new one.

    Raises: MalformedPayload with the complaints about both.
    """
    if not isinstance(document, Mapping):
        raise MalformedPayload(Complaint("", f"a task is a table, not {kind_of(document)}"))
    complaints: list[Complaint] = []
    task = _or_complain(complaints, lambda: _common(document))
    payload = _or_complain(complaints, lambda: _special(document, payload_classes))
    if task is None or complaints:
        raise MalformedPayload(*complaints)
    return task, payload


def submission_of(document: Document) -> Submission:
    """What a queue must know of a task; its document then has an id, made up if there was none.

    Lenient: what is malformed is left at its default, since the worker that claims the task reports all of it.

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
    """A fresh id of 16 characters: 9 of milliseconds, so that ids sort by their time, and 7 (35 bits) of chance."""
    number = (time.time_ns() // 1_000_000) << 35 | secrets.randbits(35)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(75, -1, -5))


def _or_complain(complaints: list[Complaint], make: Callable[[], T]) -> T | None:
    try:
        return make()
    except MalformedPayload as error:
        complaints += error.complaints
        return None


def _common(document: Document) -> Task:
    task = structure(Task, {"id": new_task_id()} | {k: v for k, v in document.items() if k in TASK_FIELDS})
    if complaints := list(_contradictions(task)):
        raise MalformedPayload(*complaints)
    return task


def _special(document: Document, payload_classes: Mapping[str, type]) -> object:
    platform = document.get("platform")
    if not isinstance(platform, str):
        return None  # the common half complains about it
    if platform not in payload_classes:
        fix = suggestion(platform, tuple(payload_classes))
        raise MalformedPayload(Complaint("platform", "this worker has no platform of that name", fix))
    payload = {key: value for key, value in document.items() if key not in TASK_FIELDS}
    return structure(payload_classes[platform], payload, known=TASK_FIELDS)


def _contradictions(task: Task) -> Iterator[Complaint]:
    """What no field can see alone."""
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
    """The fields of a task that a queue looks at, but those that are malformed."""
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
