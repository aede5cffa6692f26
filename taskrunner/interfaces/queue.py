"""Queue and Submitter: where runs come from, and where their resolution goes.

Only `reclaim` and `resolve` decide who holds a run; a notice never does. Every call may be repeated with the same
arguments: a reply can be lost. Runs are at least once, accepted resolutions at most once.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import attrs

from taskrunner.amounts import Room
from taskrunner.errors import Complaint, NotSupported
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.attachments import ProxyHandler
from taskrunner.interfaces.log import LogOrigin
from taskrunner.interfaces.plugin import Plugin, QueueContext
from taskrunner.interfaces.queue_file import QueueFile
from taskrunner.model import (
    Claim,
    Document,
    Health,
    Move,
    Notice,
    Progress,
    Resolution,
    RunKey,
    RunStory,
    Submission,
    TaskStatus,
)

Applied = Literal["applied", "already-so", "unanswered"]
"""What `resolve` did: the resolution is written now; the same claim had written the same one before; or the peer that
waited for it did not take it, and the run is over all the same."""


HeldClaim = Callable[[], Claim]
"""The claim of a run as it is now. Each reclaim replaces it, and the credentials that a queue's own class of claims has
with it, so a claim is never kept for later."""


@attrs.frozen
class Capabilities:
    """What one queue can do, as it was opened. What it cannot do raises NotSupported; nothing is imitated silently."""

    max_claim: int = 32
    """Most claims that one call grants."""
    lease: float | None = None
    """Seconds that a lease lasts, when the queue sets that itself: neither the setting of a worker nor the `lease` of a
    call has an effect. None: the worker asks."""
    max_lease: float | None = None
    """Longest lease that it grants, in seconds; a worker asks for no longer one. None: any."""
    max_hold: float | None = None
    """Longest time that a run can be held, in seconds from its claim, however often it is reclaimed; None: any. A
    worker stops a run before that, early enough to upload what it has made, and resolves it `failed`, `max-run-time`.
    A run whose upload takes longer is lost: `deadline`."""
    priorities: bool = True
    cancel: Literal["pushed", "on-reclaim"] = "pushed"
    """How a worker learns of a cancellation: at once by a notice, or at the next reclaim."""
    max_release_delay: float | None = None
    """Longest delay of `release`, in seconds; None: any."""
    late_artifacts: bool = False
    """Whether `artifacts` takes the log, and what is kept, of an exception that was resolved already. Otherwise they
    stay with the worker's own store. The log of a run whose worker died is put there by the worker that has resolved
    it: its claim has the token of the dead one, and no document."""
    reads_room: bool = False
    """Whether `claim` grants only runs for which `Slots.room` has room."""
    answers_cancel: bool = False
    """Whether a caller waits for an answer to each run: a cancelled run is resolved all the same, and a slot is free
    before the answer is sent."""


@attrs.frozen
class Slots:
    """What a worker can take."""

    capacity: int
    """Runs at a time."""
    free: int
    """Runs that it takes now. Runs of claims that `claim` has returned are no part of it any more."""
    fit: Health
    """Whether the machine is fit to take runs, and why not."""
    draining: str = ""
    """Why the worker takes no more runs until its end; empty while it does."""
    room: Room | None = None
    """What the machine has left for further runs, by the field `resources` of their documents; None: that is not
    counted. A queue that reads it grants no run for which there is no room, and lets smaller ones overtake it for a
    while only. From any other queue, a run waits in its slot, and `free` is 0 meanwhile."""


class Queue(Plugin):
    """What a worker needs. Used from one event loop, by several coroutines at once.

    Found by its entry point (group `taskrunner.queues`), whose name is the scheme of its URLs, and opened by
    `open(options, context)`: `context.url` is the URL, `options` the table `[queue.SCHEME]`. Verbs of the command line
    open it by `connect`.

    Every method but `close` may raise Unavailable.
    """

    capabilities: Capabilities = Capabilities()
    """Of this queue; one that learns them when it is opened sets its own. They do not change after the first claim."""

    @classmethod
    async def connect(cls, options: Any, context: QueueContext) -> Queue | Submitter:
        """What a verb of the command line opens instead of `open`, such as `submit` and `list`: a queue whose `open`
        listens connects to it here. By default the same. Same errors as `open`.
        """
        return await cls.open(options, context)

    @classmethod
    def api_document(cls) -> Mapping[str, Any]:
        """The OpenAPI document of the API that a queue of this class serves. Raises NotSupported (the default)."""
        raise NotSupported("this queue serves no API")

    @property
    def address(self) -> str:
        """Where it is, for its operator: a URL without credentials. By default the name of the class."""
        return type(self).__name__

    @abstractmethod
    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        """Up to `n` (at least 1) runs, each ours for `lease` seconds, or for the queue's own `Capabilities.lease`; the
        claim's `valid_until` says how long. Returns as soon as there is one, or an empty sequence after `wait` seconds.
        When the call is cancelled, what was granted meanwhile is released.
        """

    def claim_only(self, task_id: str) -> None:
        """From now on `claim` grants the runs of this task alone. Called before the first claim.

        Raises: NotSupported (the default).
        """
        raise NotSupported("this queue cannot grant one task alone")

    def offer_slots(self, slots: Slots) -> None:
        """What the worker can take from now on; called once it has booted, and at each change. For a queue whose peers
        ask for it or dispatch runs by themselves; `claim` is called all the same. Returns at once; raises nothing.
        """

    def expected_task(self) -> Document | None:
        """The document of a task like those that `claim` grants, if that is known: the worker decodes it, and opens its
        platform, while it waits for the first one, and hands back the runs that come before that platform answers. The
        same each time. By default nothing is known, and nothing is made ready. Raises nothing."""
        return None

    @abstractmethod
    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        """The same claim, ours for `lease` seconds from now, or for the queue's own `Capabilities.lease`. No other
        worker gets the run before that. Called when a third of what was granted has passed, the first time after a
        minute at the latest, so that a cancellation which only a reclaim reports is known early. The claim that it
        replaces is as good as the new one until its own lease ends, since the answer may be lost.

        Raises: ClaimLost (final; `deadline` after `Capabilities.max_hold`), Unavailable.
        """

    @abstractmethod
    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        """Reports how the run ended, once, after everything else about the run. An exception whose reason is in
        `taskrunner.RETRIED` makes a new run, while retries are left.

        Raises: ClaimLost (nothing was changed), Conflict (this claim was resolved otherwise), Unavailable.
        """

    @abstractmethod
    async def release(self, claim: Claim, *, delay: float, reason: str, message: str = "") -> float:
        """Hands the run back, to be claimed again after `delay` seconds. It says nothing against the task and costs no
        retry. `reason` is a short word and `message` a text for people, as in a Resolution. Returns the delay that the
        queue keeps, which may be shorter.

        Raises: ClaimLost, Unavailable.
        """

    async def notices(self) -> AsyncIterator[Notice]:
        """Subscribes to the advice for this worker. The subscription counts once this has returned: each notice after
        that is in the iteration. When the iteration ends or raises Unavailable, the worker subscribes again, after a
        pause. By default there is never a notice.

        Raises: Unavailable.
        """
        return _no_notices()

    async def append_log(self, claim: Claim, offset: int, chunk: bytes, origin: LogOrigin | None = None) -> None:
        """A piece of the log, for its watchers. The worker reads the pieces from the run's file, one after the other,
        and asks for the next one when this returns: a queue whose watcher wants every byte waits for it here, and
        neither the run nor the worker's memory notices. At the run's end, a watcher that takes nothing for a while is
        given up, and a line in place of the rest says so. `origin` says from which stream the piece came and
        when, if that is known. By default the log is dropped.

        Raises: ClaimLost (nobody watches any more), Unavailable (the same piece is sent again).
        """

    async def moved(self, claim: Claim, move: Move, ending: Resolution | None) -> None:
        """The run is in another state: a Move without a source when it has got a slot. `ending` is how the run ends, if
        that is decided; until it is reported, it can still change. Comes in the order of the log: after all that was
        written before. By default nobody is told. Same errors as `append_log`.
        """

    async def progress(self, claim: Claim, progress: Progress) -> None:
        """How far a step of the run is: the newest state of each step, as often as the queue takes it. By default
        nobody is told. Same errors as `append_log`.
        """

    def in_authors_words(self, claim: Claim, complaints: Sequence[Complaint]) -> Sequence[Complaint]:
        """Complaints about the document of a claim, as the author of its task can read them. A queue whose authors
        write tasks in another form translates the paths, and puts what it could not translate itself before them: it
        is asked with none before a run begins. Translated ones stay as they are. By default they are said as they are.
        Raises nothing.
        """
        return complaints

    async def status(self, task_id: str) -> TaskStatus:
        """Of another task of this queue, whose artifacts a task may name: those of its last completed run are in the
        worker's store. Only for a queue all of whose authors may read the artifacts of all its tasks.

        Raises: NotSupported (the default), UnknownTask.
        """
        raise NotSupported("tasks of this queue cannot name each other")

    def proxies(self, held: HeldClaim) -> Mapping[str, ProxyHandler]:
        """What the run reaches by these host names, as `http://NAME/`: services of the queue's system, with the rights
        of this run. A handler asks `held` for the claim at each request, since a reclaim replaces its credentials.
        Called once for each run, before it starts. A run whose platform has no proxies is `malformed-payload`, so a
        queue offers only what the task asks for, or needs. By default there are none. Raises nothing.
        """
        return {}

    async def locate(self, held: HeldClaim, name: str) -> QueueFile:
        """Where a file is that the document of this run names as one of its queue's. Called while the run loads. Asks
        each time whether the run may have it, with the rights of this run.

        Raises: MalformedPayload (there is no such file, or the run may not have it), NotSupported (the default),
            Unavailable.
        """
        raise NotSupported("this queue has no files for its runs")

    def artifacts(self, held: HeldClaim) -> ArtifactStore | None:
        """Where this queue's peers expect the log and the artifacts, beside the worker's own store: both get them, the
        worker's first. None: only the worker's own store. A store that sends credentials of the claim asks `held` for
        them at each request: an upload may last longer than one lease.
        """
        return None

    async def close(self) -> None:
        """Releases connections and files; no task goes on, and claims stay as they are. A second call does nothing.
        Raises nothing."""


class Submitter(ABC):
    """What a client needs to have tasks run. Every method may raise Unavailable."""

    @abstractmethod
    async def submit(self, submission: Submission) -> bool:
        """Submits a task. True: it is new. False: it was known, with the same document.

        Raises: Conflict (the id is known with another document), MalformedPayload (what `check_submission` refuses).
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

    async def matching(self, prefix: str, *, limit: int = 10) -> Sequence[str]:
        """The ids that begin so, in order, at most `limit`; none for an empty text. No character of it has a meaning of
        its own. Raises NotSupported (the default)."""
        raise NotSupported("this queue finds no tasks by the beginning of their ids")

    async def forget(self, before: datetime, *, dry_run: bool = False) -> int:
        """Removes the tasks that were resolved before this time of day, with their runs; never one that is pending or
        running, whatever its age. Their ids are unknown from then on, and can be submitted again. Returns how many they
        are; with `dry_run`, they stay. Raises NotSupported (the default)."""
        raise NotSupported("this queue removes no tasks")

    def list(self, *, limit: int = 100) -> AsyncIterator[TaskStatus]:
        """The newest tasks first. Raises NotSupported."""
        raise NotSupported("this queue cannot list its tasks")

    def watch_log(self, task_id: str, run_id: int, offset: int = 0, *, follow: bool = True) -> AsyncIterator[bytes]:
        """The log of a run from a byte offset to its end, following it while it grows; without `follow`, to its present
        end. For a queue whose readers do not find the log by `RunStatus.home`. Raises NotSupported, UnknownTask."""
        raise NotSupported("this queue carries no logs")

    async def run_story(self, run: RunKey) -> RunStory:
        """The states of a run, and what its clean-up has left. For a queue whose clients do not find the home of the
        run's worker by `RunStatus.home`. Raises NotSupported (the default), UnknownTask."""
        raise NotSupported("this queue knows nothing of a run but its end")

    def remote_store(self) -> ArtifactStore | None:
        """Where clients read artifacts and logs, if that is not the store of the configuration: the client of a queue
        on another machine reads those of that machine. It is closed with this object. Raises nothing."""
        return None

    async def close(self) -> None:
        """Releases connections and files. A second call does nothing. Raises nothing."""


async def _no_notices() -> AsyncIterator[Notice]:
    """Waits for ever: an iteration that ends would be begun again."""
    await asyncio.get_running_loop().create_future()
    yield Notice("drain")
