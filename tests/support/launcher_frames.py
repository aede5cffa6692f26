"""Malformed frames of a launcher, each with the begin of its complaint."""

from __future__ import annotations

import json
from typing import Any


def _frame(**message: Any) -> str:
    return json.dumps(message)


NO_JSON, NO_OBJECT = "no JSON", "no JSON object"
TYPE = "type: is not known"
MISSING = "type: is missing"

MALFORMED: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", NO_JSON),
    "a space": (" ", NO_JSON),
    "a word": ("hunter2", NO_JSON),
    "half an object": ('{"type": "close"', NO_JSON),
    "two objects": ('{"type": "close"} {}', NO_JSON),
    "single quotes": ("{'type': 'close'}", NO_JSON),
    "a comma too many": ('{"type": "close",}', NO_JSON),
    "a control character": ('{"type": "clo\nse"}', NO_JSON),
    "NaN": ('{"type": "close", "x": NaN}', NO_JSON),
    "infinity": ('{"type": "close", "x": -Infinity}', NO_JSON),
    "a byte order mark": ('\ufeff{"type": "close"}', NO_JSON),
    "a number of 5000 digits": ('{"type": "close", "x": ' + "9" * 5000 + "}", NO_JSON),
    "100,000 lists within each other": ("[" * 100_000, NO_JSON),
    "100,000 objects within each other": ('{"a":' * 100_000, NO_JSON),
    "null": ("null", NO_OBJECT),
    "a text": ('"close"', NO_OBJECT),
    "a number": ("1", NO_OBJECT),
    "a list": ('[{"type": "close"}]', NO_OBJECT),
    "a binary frame": (b'{"type": "close"}', "a binary frame"),
    "an empty binary frame": (b"", "a binary frame"),
    "bytes that are no text": (b"\xff\xfe\x00", "a binary frame"),
    "an empty object": ("{}", MISSING),
    "no type": (_frame(buildId="b"), MISSING),
    "a type that is null": (_frame(type=None), MISSING),
    "another type": (_frame(type="hunter2"), TYPE),
    "a type in capitals": (_frame(type="CLOSE"), TYPE),
    "a type of the worker's": (_frame(type="success"), TYPE),
    "a type with a space": (_frame(type="close "), TYPE),
    "a number as the type": (_frame(type=1), TYPE),
    "a list as the type": (_frame(type=["close"]), TYPE),
    "a query without an id": (_frame(type="state-query"), "buildId: is no text"),
    "a query with a number": (_frame(type="state-query", buildId=7), "buildId: is no text"),
    "a query with null": (_frame(type="state-query", buildId=None), "buildId: is no text"),
    "a query with an empty id": (_frame(type="state-query", buildId=""), "buildId: is no text"),
    "a dispatch without an id": (_frame(type="dispatch", job={}), "buildId: is no text"),
    "a dispatch without a job": (_frame(type="dispatch", buildId="b"), "job: is no object"),
    "a job that is null": (_frame(type="dispatch", buildId="b", job=None), "job: is no object"),
    "a job that is a text": (_frame(type="dispatch", buildId="b", job="hunter2"), "job: is no object"),
    "a job that is a list": (_frame(type="dispatch", buildId="b", job=[{}]), "job: is no object"),
    "a job run with the id of a build": (
        _frame(type="dispatch", jobType="jobRun", buildId="b", job={}),
        "jobRunId: is no text",
    ),
    "a job run with an object as its id": (
        _frame(type="dispatch", jobType="jobRun", jobRunId={}, job={}),
        "jobRunId: is no text",
    ),
    "an abort without a reason": (_frame(type="abort"), "reason: is not known"),
    "an abort for another reason": (_frame(type="abort", reason="hunter2"), "reason: is not known"),
    "an abort with a list": (_frame(type="abort", reason=["cancel"]), "reason: is not known"),
    "an abort with null": (_frame(type="abort", reason=None), "reason: is not known"),
}
