"""What is spoken through the door: version 1 of the protocol.

A client connects to `<home>/workers/<id>.sock` and sends a request, one line of JSON that ends with a line feed; the
worker answers with one line of JSON; and so on, until either side closes the connection::

    {"version": 1, "verb": "status"}
    {"version": 1, "ok": true, "worker": {"worker_id": "ci-7-3f", "state": "claiming", ...}}

    {"version": 1, "verb": "pause", "seconds": "ten"}
    {"version": 1, "ok": false, "error": "malformed", "message": "seconds: expected a number, got a text (...)"}

=========  ==================================  ===========================================================
verb       further keys                        effect
=========  ==================================  ===========================================================
`status`                                       `worker` of the answer is a `WorkerReport`
`pause`    `seconds`: a number, or null        claims no more runs, for this time or until `resume`
`resume`                                       ends that pause
`drain`    `now`: true or false                stops, as after the first signal, or with `now` the second
`exec`     `task_id`; `run_id`: a number, or   starts a command beside that of the run, and takes over the
           null for any; `command`: texts;     connection
           `tty`: null, or `rows` and
           `columns`; `env`: texts; `cwd`
`attach`   `task_id`; `run_id`: as above       takes over the connection for the input and the output of the
                                               command of an interactive run
=========  ==================================  ===========================================================

After a `pause`, `resume` or `drain`, `worker` is the report after it. An `error` is one word for programs, `message`
the same for people. After `too-long`, `too-slow` and `busy` the worker closes the connection.

A line may have `MAX_LINE` bytes. A verb that takes over its connection answers `"ok": true` or an error; after the
former both sides send frames (`taskrunner.worker.door.frames`). When the client closes the connection, the command of
its `exec` is killed, and the one that it has attached to goes on. A worker of another version answers
`unsupported-version`, with its own in `version`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import attrs

VERSION = 1

MAX_LINE = 64 << 10
"""Bytes of a request. A command may have a script among its words."""

MAX_ANSWER = 16 << 20
"""Bytes of an answer: 1000 runs with titles of 10 kB."""

Fault = Literal[
    "malformed",
    "unsupported-version",
    "too-long",
    "too-slow",
    "busy",
    "internal-error",
    "not-running",
    "not-supported",
    "not-started",
]


class DoorError(Exception):
    """A request that is not answered as it was meant."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def encode(**fields: Any) -> bytes:
    """A request or an answer. Values of attrs classes are objects, times are ISO 8601 texts."""
    return json.dumps({"version": VERSION, **fields}, default=_plain).encode() + b"\n"


def refusal(error: DoorError) -> bytes:
    return encode(ok=False, error=error.fault, message=str(error))


def parse(line: bytes) -> Mapping[str, Any]:
    """A request or an answer of this version. Raises DoorError."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DoorError("malformed", "this is no JSON object in one line")
    if found.pop("version", None) != VERSION:
        raise DoorError(
            "unsupported-version",
            f"version {VERSION} is spoken here: use the `taskrunner` that started the worker",
        )
    return found


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if attrs.has(type(value)):
        return attrs.asdict(value, recurse=False)  # type: ignore[arg-type]  # has() has checked it
    raise TypeError(f"{type(value).__name__} is no JSON value")
