"""Who holds a run, from its submission on."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import attrs

from taskrunner.model.document import Document, Json  # noqa: F401  a Document names it when its type is resolved
from taskrunner.model.task import DEFAULT_RETRIES


@attrs.frozen
class RunKey:
    """Names one run everywhere: in queues, stores, journals and labels."""

    task_id: str
    run_id: int
    """0 for the first run of a task; rises with each grant."""

    def __str__(self) -> str:
        return f"{self.task_id}/{self.run_id}"


@attrs.frozen
class Submission:
    """A task on its way into a queue: the document, and the fields that a queue itself reads."""

    task_id: str
    document: Document
    priority: int = 0
    retries: int = DEFAULT_RETRIES
    not_before: datetime | None = None
    deadline: datetime | None = None


@attrs.frozen
class Claim:
    """The lease on a run: ours until `valid_until`, longer after each reclaim.

    A queue whose claims carry more, such as credentials for its other services, has a subclass with further fields
    (`repr=False`). Of these nothing outlives the worker: crash recovery hands a run back by its last `token` alone.
    """

    task_id: str
    run_id: int
    document: Document
    worker_id: str
    token: str = attrs.field(repr=False)
    """Proof of ownership; opaque to all but the queue that made it."""
    taken_until: datetime | None = None
    """When the lease ends, by the queue's clock (UTC): for people and wire formats. None: bound to a connection."""
    valid_until: float | None = None
    """The same on the running loop's clock (`loop.time()`), counted from *before* the request was sent, to be on the
    safe side: a worker that could not reclaim by then has lost the run."""

    @property
    def run(self) -> RunKey:
        return RunKey(self.task_id, self.run_id)


@attrs.frozen
class Notice:
    """Advice from a queue: may be late, repeated or lost."""

    kind: Literal["cancel", "reclaim", "drain"]
    """`cancel`: the task was canceled. `reclaim`: the run of this task may be lost, so its claim is renewed now, which
    decides about that. `drain`: the worker finishes its runs, and stops."""
    task_id: str = ""
    message: str = ""
