"""What a submission has to be before a queue keeps it: every complaint at once, each by its field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.model import ID_PATTERN, Submission

TASK_ID = re.compile(ID_PATTERN)
"""What the worker asks of an id as well: better refused now than resolved as malformed later."""

MAX_DOCUMENT = 1 << 20
"""Bytes of a document as JSON. Taskcluster and SQS stop at 1 MiB too; files belong into an artifact store."""

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Between these, seconds since 1970 turn back into the same time of day."""

MAX_PRIORITY = 1 << 31
MAX_RETRIES = 1000
"""A task that was lost so often is not lost by chance."""


def check_submission(submission: Submission) -> str:
    """The document as canonical JSON: equal documents give equal texts.

    Raises: MalformedPayload.
    """
    complaints = list(_complaints(submission))
    try:
        text = canonical(submission.document)
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedPayload(*complaints, Complaint("document", f"is not plain JSON: {error}")) from None
    if len(text) > MAX_DOCUMENT:
        problem = f"has {len(text)} bytes as JSON; the limit is {MAX_DOCUMENT}"
        complaints.append(Complaint("document", problem, "let the task fetch what is large"))
    if complaints:
        raise MalformedPayload(*complaints)
    return text


def canonical(value: object) -> str:
    """One text for each JSON value: ASCII, keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def is_task_id(text: object) -> bool:
    return isinstance(text, str) and TASK_ID.fullmatch(text) is not None


def _complaints(submission: Submission) -> Iterator[Complaint]:
    if not is_task_id(submission.task_id):
        yield Complaint(
            "task_id",
            "is not the id of a task",
            "use up to 100 letters, digits, `.`, `_` and `-`, and begin with a letter or a digit",
        )
    if not isinstance(submission.document, Mapping):
        yield Complaint("document", "is not a mapping of names to values")
    if not _is_whole(submission.priority, -MAX_PRIORITY, MAX_PRIORITY):
        yield Complaint("priority", f"is not a whole number between -{MAX_PRIORITY} and {MAX_PRIORITY}")
    if not _is_whole(submission.retries, 0, MAX_RETRIES):
        yield Complaint("retries", f"is not a whole number between 0 and {MAX_RETRIES}")
    for name in ("not_before", "deadline"):
        if not _is_moment(getattr(submission, name)):
            yield Complaint(name, "is not a time of day with a time zone after 1970", "2030-01-01T00:00:00Z")


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_moment(value: object) -> bool:
    return value is None or (isinstance(value, datetime) and bool(value.tzinfo) and EARLIEST <= value <= LATEST)


def _plain(value: Any) -> Any:
    """Mappings and sequences other than `dict` and `list` are JSON as well."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return list(value)
    raise TypeError(f"a value is of the type {type(value).__name__}")
