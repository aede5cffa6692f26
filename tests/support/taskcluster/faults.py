"""What goes wrong at the server, when a test wants it to."""

from __future__ import annotations

import threading
from typing import Literal

import attrs

Kind = Literal["error", "drop", "lost", "stall", "garbage", "busy"]
"""`error`: 500 without doing anything. `drop`: the connection ends without doing anything. `lost`: the call is done,
and its answer is not sent. `stall`: nothing happens until `release`. `garbage`: the body of the answer is `body`.
`busy`: 429."""


@attrs.define
class Fault:
    """One fault of some calls."""

    call: str
    """Its name in the Taskcluster client; `put` for the storage."""
    kind: Kind
    times: int = 1
    body: bytes = b""
    headers: dict[str, str] = attrs.field(factory=dict)
    """Of the answer, beside the usual ones."""
    message: str = "later"
    """In the body of an error."""
    status: int = 500
    released: threading.Event = attrs.field(factory=threading.Event)

    def release(self) -> None:
        self.released.set()


@attrs.define
class Faults:
    """The faults that are due."""

    due: list[Fault] = attrs.field(factory=list)

    def take(self, call: str) -> Fault | None:
        for fault in self.due:
            if fault.call == call and fault.times > 0:
                fault.times -= 1
                return fault
        return None
