"""Queue and Submitter: where runs come from, and where their resolution goes.

Only `reclaim` and `resolve` decide who holds a run; a notice never does. Every call may be repeated with the same
arguments: a reply can be lost. Runs are at least once, accepted resolutions at most once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Literal

import attrs

from taskrunner.errors import NotSupported
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.model import Claim, Notice, Resolution, Submission, TaskStatus

Applied = Literal["applied", "already-so"]
"""What `resolve` did: the resolution is written now, or the same claim had written the same one before."""


@attrs.frozen
class Capabilities:
    """What a queue can do. What it cannot do raises NotSupported; nothing is imitated silently."""

    max_claim: int = 32
    """Most claims that one call grants."""
    priorities: bool = True
    cancel: Literal["pushed", "on-reclaim"] = "pushed"
    """How a worker learns of a cancellation: at once by a notice, or at the next reclaim."""
    max_release_delay: float | None = None
    """Longest delay of `release`, in seconds; None: any."""
    answers_cancel: bool = False
    """Whether a cancelled run is resolved all the same, because its caller waits for an answer."""


class Queue(ABC):
    """What a worker needs. Used from one event loop, by several coroutines at once.

    Every method but `close` may raise Unavailable.
    """

    capabilities: Capabilities = Capabilities()

    @abstractmethod
    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        """Up to `n` (at least 1) runs, each ours for `lease` seconds. Returns as soon as there is one, or an empty
        sequence after `wait` seconds. When the call is cancelled, what was granted meanwhile is released.
        """

    def claim_only(self, task_id: str) -> None:
        """From now on `claim` grants the runs of this task alone. Called before the first claim.

        Raises: NotSupported (the default).
        """
        raise NotSupported("this queue cannot grant one task alone")

    @abstractmethod
    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        """The same claim, ours for `lease` seconds from now. No other worker gets the run before that.

        Raises: ClaimLost (final), Unavailable.
        """

    @abstractmethod
    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        """Reports how the run ended. An exception whose reason is in `model.RETRIED` makes a new run, while retries
        are left.

        Raises: ClaimLost (nothing was changed), Conflict (this claim was resolved otherwise), Unavailable.
        """

    @abstractmethod
    async def release(self, claim: Claim, *, delay: float, reason: str) -> float:
        """Hands the run back, to be claimed again after `delay` seconds. It says nothing against the task and costs no
        retry. Returns the delay that the queue keeps, which may be shorter.

        Raises: ClaimLost, Unavailable.
        """

    def notices(self) -> AsyncIterator[Notice]:
        """Advice for this worker, from this call on. By default there is none."""
        return _no_notices()

    async def append_log(self, claim: Claim, offset: int, chunk: bytes) -> None:
        """A piece of the log, for its watchers: best effort, never waits for one. By default it is dropped."""

    def artifacts(self, claim: Claim) -> ArtifactStore | None:
        """Where this queue's peers expect the artifacts. None: the worker's own store."""
        return None

    async def close(self) -> None:
        """Releases connections and files. A second call does nothing. Raises nothing."""


class Submitter(ABC):
    """What a client needs to have tasks run. Every method may raise Unavailable."""

    @abstractmethod
    async def submit(self, submission: Submission) -> bool:
        """Submits a task. True: it is new. False: it was known, with the same document.

        Raises: Conflict (the id is known with another document), MalformedPayload (beyond the limits of `limits`).
        """

    @abstractmethod
    async def cancel(self, task_id: str, message: str = "") -> bool:
        """Ends a task, pending or running. False: it had been resolved already.

        Raises: UnknownTask.
        """

    @abstractmethod
    async def retry(self, task_id: str) -> bool:
        """Makes a new run of a task that was resolved, with all its retries. False: it is not resolved.

        Raises: UnknownTask.
        """

    @abstractmethod
    async def status(self, task_id: str) -> TaskStatus:
        """Raises: UnknownTask."""

    @abstractmethod
    def watch(self, task_id: str) -> AsyncIterator[TaskStatus]:
        """The status now and after each change, until it is resolved. Short states may be skipped.

        Raises: UnknownTask.
        """

    async def pending(self) -> int:
        """How many tasks wait to be claimed, including those that wait for a delay, without those whose `not_before`
        has not come. Raises NotSupported."""
        raise NotSupported("this queue does not count its tasks")

    def list(self, *, limit: int = 100) -> AsyncIterator[TaskStatus]:
        """The newest tasks first. Raises NotSupported."""
        raise NotSupported("this queue cannot list its tasks")

    def watch_log(self, task_id: str, run_id: int, offset: int = 0) -> AsyncIterator[bytes]:
        """The log from a byte offset to its end, following it while it grows. Raises NotSupported, UnknownTask."""
        raise NotSupported("this queue carries no logs")


async def _no_notices() -> AsyncIterator[Notice]:
    return
    yield
