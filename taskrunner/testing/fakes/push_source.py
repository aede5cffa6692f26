"""ScriptedSource: a push source without a network, for tests of what is pushed.

::

    source = ScriptedSource()
    queue = PushQueue(source)
    ...                                                   # run a worker with this queue
    peer = await source.dispatch(Submission("one", {}))   # waits for a slot; `offer` is refused when there is none
    assert await peer.answered() == COMPLETED
"""

from __future__ import annotations

import asyncio

from taskrunner.errors import ClaimLost
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.log import LogOrigin
from taskrunner.interfaces.push import Credits, Offer, OfferRefused, Peer, PushSource
from taskrunner.model import Move, Progress, Resolution, RunKey, Submission


class ScriptedPeer(Peer):
    """The peer that dispatched one run. It keeps what the queue sends, and disconnects or cancels on demand."""

    def __init__(self, task_id: str, store: ArtifactStore | None = None) -> None:
        self.task_id = task_id
        self.log: list[tuple[int, bytes]] = []
        """Offsets and pieces, in the order of their arrival."""
        self.origins: list[LogOrigin | None] = []
        """Of each piece."""
        self.moves: list[tuple[str, Resolution | None]] = []
        """The states that the run was in, and how it was to end."""
        self.steps: list[Progress] = []
        self.refusals: list[tuple[str, str]] = []
        self.answers: list[Resolution] = []
        self.told: list[str] = []
        """The kinds of everything above, in the order of their arrival: `moved`, `log`, `answer`."""
        self.reads = asyncio.Event()
        """While it is cleared, the peer takes nothing."""
        self.reads.set()
        self._store = store
        self._answered = asyncio.Event()
        self._disconnected = False
        self.run: RunKey | None = None
        """The run that the queue made of the offer."""
        self._credits: Credits | None = None

    async def answer(self, resolution: Resolution) -> None:
        await self._reading("answer")
        self.answers.append(resolution)
        self._answered.set()

    async def refuse(self, reason: str, message: str) -> None:
        await self._reading("refusal")
        self.refusals.append((reason, message))
        self._answered.set()

    async def moved(self, move: Move, ending: Resolution | None) -> None:
        await self._reading("moved")
        self.moves.append((move.target, ending))

    async def progress(self, progress: Progress) -> None:
        await self._reading("progress")
        self.steps.append(progress)

    async def send_log(self, offset: int, chunk: bytes, origin: LogOrigin | None) -> None:
        await self._reading("log")
        self.log.append((offset, chunk))
        self.origins.append(origin)

    def artifacts(self) -> ArtifactStore | None:
        return self._store

    async def answered(self) -> Resolution | str:
        """Waits for the end of the dialogue: the answer, or the words of a refusal."""
        await self._answered.wait()
        return self.answers[0] if self.answers else ": ".join(self.refusals[0])

    def disconnect(self, why: str = "the connection broke") -> None:
        """Ends the connection, and the run with it: every later call of the queue fails."""
        self._disconnected = True
        self._lose(canceled=False, why=why)

    def cancel(self, why: str = "not wanted any more") -> None:
        """Cancels the run. The peer still waits for the answer."""
        self._lose(canceled=True, why=why)

    def leave(self) -> None:
        """Ends the connection; the source keeps the run for another peer."""
        self._disconnected = True
        if self._credits and self.run:
            self._credits.detach(self.run)

    def _lose(self, *, canceled: bool, why: str) -> None:
        if self._credits and self.run:
            self._credits.withdraw(self.run, canceled=canceled, why=why)

    def taken(self, credits_: Credits, run: RunKey) -> None:
        """Called by the source when the queue has taken the run."""
        self._credits, self.run = credits_, run

    async def _reading(self, what: str) -> None:
        await self.reads.wait()
        if self._disconnected:
            raise ClaimLost("disconnected", "the test has disconnected this peer")
        self.told.append(what)


class ScriptedSource(PushSource):
    """A source whose offers a test makes."""

    def __init__(self, store: ArtifactStore | None = None) -> None:
        self.refused: list[OfferRefused] = []
        """Every refusal of an offer."""
        self._store = store
        self._credits: asyncio.Queue[Credits] = asyncio.Queue()
        self._failure: asyncio.Future[None] | None = None

    async def serve(self, credits: Credits) -> None:  # noqa: A002  the interface's word
        self._failure = asyncio.get_running_loop().create_future()
        self._credits.put_nowait(credits)
        try:
            await self._failure
        finally:
            self._credits = asyncio.Queue()

    def fail(self, error: BaseException) -> None:
        """Ends `serve` with this error."""
        if self._failure:
            self._failure.set_exception(error)

    async def credits(self) -> Credits:
        """Waits until a queue is served by this source, and returns its credits."""
        served = await self._credits.get()
        self._credits.put_nowait(served)
        return served

    async def offer(self, submission: Submission) -> ScriptedPeer | None:
        """Offers a run now. Returns None when it was refused."""
        credits_, peer = await self.credits(), ScriptedPeer(submission.task_id, self._store)
        outcome = credits_.offer(Offer(submission, peer))
        if isinstance(outcome, OfferRefused):
            self.refused.append(outcome)
            return None
        peer.taken(credits_, outcome.run)
        return peer

    async def dispatch(self, submission: Submission) -> ScriptedPeer:
        """Offers a run again and again until it is taken."""
        while not (peer := await self.offer(submission)):  # noqa: ASYNC110  see below
            await asyncio.sleep(0.01)  # a source has no notice of a free slot
        return peer

    async def return_to(self, run: RunKey) -> ScriptedPeer | None:
        """Another peer takes over a run that was kept. Returns None when the queue does not know the run."""
        credits_, peer = await self.credits(), ScriptedPeer(run.task_id, self._store)
        peer.taken(credits_, run)
        return peer if credits_.attach(run, peer) else None


__all__ = ["ScriptedPeer", "ScriptedSource"]
