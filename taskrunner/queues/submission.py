"""What a submission has to be before a queue keeps it: every complaint at once, each by its field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

import attrs

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import DOCUMENT_HINT, EARLIEST, ID_PATTERN, LATEST, MAX_DOCUMENT, TIME_HINT
from taskrunner.model import Submission, Task
from taskrunner.schema.canonical import canonical_json
from taskrunner.schema.decode import field_complaints

FIELDS = {"task_id": "id", "priority": "priority", "retries": "retries"}
"""Fields of a submission, and the field of a task whose limits they have: the worker would refuse the same later."""


def check_submission(submission: Submission) -> str:
    """The document as canonical JSON.

    Raises: MalformedPayload.
    """
    complaints = list(_complaints(submission))
    try:
        text = canonical_json(submission.document)
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedPayload(*complaints, Complaint("document", f"is not plain JSON: {error}")) from None
    if len(text) > MAX_DOCUMENT:
        complaints.append(Complaint("document", f"is larger than {MAX_DOCUMENT} bytes as JSON", DOCUMENT_HINT))
    if complaints:
        raise MalformedPayload(*complaints)
    return text


def is_task_id(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(ID_PATTERN, text) is not None


def _complaints(submission: Submission) -> Iterator[Complaint]:
    for name, task_field in FIELDS.items():
        for complaint in field_complaints(Task, task_field, getattr(submission, name)):
            yield attrs.evolve(complaint, path=name)
    if not isinstance(submission.document, Mapping):
        yield Complaint("document", "is not a mapping of names to values")
    for name in ("not_before", "deadline"):
        yield from _time_complaints(name, getattr(submission, name))


def _time_complaints(name: str, value: object) -> Iterator[Complaint]:
    if value is None:
        return
    if not isinstance(value, datetime) or value.tzinfo is None:
        yield Complaint(name, "expected a time of day with its zone", TIME_HINT)
    elif not EARLIEST <= value <= LATEST:
        yield Complaint(name, f"is not between the years {EARLIEST.year} and {LATEST.year}", TIME_HINT)
