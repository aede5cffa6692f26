"""PushSource: work that peers dispatch to us, instead of a queue that we claim from.

`taskrunner.PushQueue` makes a Queue of a source, so that the rest of the worker sees no difference. A source is a
server, or a connection; it translates: a message of its protocol becomes an Offer, and what a Peer is told becomes
messages.

A peer is told, in this order: the moves of its run, each among the pieces of the log where it happened; the log to its
last line; the artifacts; and last its answer, which ends the dialogue. A peer that is slow gets everything at its own
pace. One that takes nothing for half a minute after the end of its run is given up: a line in the log says what is
missing, and the journal of the run says the same, and whether it took its answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import attrs

from taskrunner.errors import NotSupported
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.log import LogOrigin
from taskrunner.model import Artifact, Health, Move, Progress, Resolution, RunKey, Submission

Refusal = Literal["busy", "unfit", "draining", "known", "malformed"]
"""Why an offer is refused: every slot is taken; the machine is not fit; the worker is stopping; the task runs here
already; the submission is beyond the limits of a queue. The last one will be refused by every worker."""


class Peer(ABC):
    """The other side of one run: it dispatched the run and waits for the answer.

    Called by the queue, one call at a time for each run. A call may take as long as the peer needs, and may be
    cancelled. Each raises ClaimLost when the peer is disconnected; the source then also calls `Credits.withdraw` or
    `detach`.
    """

    @abstractmethod
    async def answer(self, resolution: Resolution) -> None:
        """Sends how the run ended: the last message about it. A cancelled run is answered as well, and one that was
        interrupted (`worker-shutdown`).

        Raises: ClaimLost, Unavailable (the same answer is sent again).
        """

    @abstractmethod
    async def refuse(self, reason: str, message: str) -> None:
        """Hands back a run that had been taken and whose command has not begun, for another worker or for later. Called
        instead of `answer`. `reason` is a short word: `unfit`, `draining`, or that of the run's end, such as
        `resource-unavailable`; `message` says it to people.

        Raises: ClaimLost, Unavailable (the same refusal is sent again).
        """

    async def moved(self, move: Move, ending: Resolution | None) -> None:
        """The run is in another state; the first Move, without a source, says that it has a slot. `ending` is how the
        run ends, if that is decided; it can change until the answer. By default it is not sent.

        Raises: ClaimLost, Unavailable (sent again).
        """

    async def progress(self, progress: Progress) -> None:
        """How far a step is: the newest state of each step. By default it is not sent. Same errors as `moved`."""

    async def send_log(self, offset: int, chunk: bytes, origin: LogOrigin | None) -> None:
        """Sends a piece of the log, all of it from one stream and time, if `origin` knows them. The pieces come in
        order, without a gap; the next one comes when this returns. By default the log is not sent. Same errors as
        `moved`.
        """

    def artifacts(self) -> ArtifactStore | None:
        """The stream back to the peer as a store, if the protocol carries artifacts: `put` is called for each artifact,
        once the log has been sent, and `put_log` with the whole log. The worker's own store has them already.
        """
        return None


class ArtifactStream(ArtifactStore):
    """A store that only takes: the stream back to a peer, for `Peer.artifacts`. A subclass has `put`."""

    async def put_log(self, run: RunKey, spool: Path) -> None:
        """The peer gets the log by `send_log`. A protocol that carries it as a file overrides this."""

    def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        raise NotSupported("a peer gives no artifact back")

    async def list(self, run: RunKey) -> list[Artifact]:
        return []


@attrs.frozen
class Offer:
    """One run that a peer dispatched."""

    submission: Submission
    peer: Peer


@attrs.frozen
class Taken:
    """An offer was taken: the run has a slot, and its peer will be answered or refused."""

    run: RunKey


@attrs.frozen
class OfferRefused:
    """An offer was not taken: the source says so to the peer, in its own protocol."""

    reason: Refusal
    why: str
    """The same for people."""


class Credits(ABC):
    """What the queue passes to a source: what the worker can take, and the only way for work to come in.

    Every method returns at once, and is called from the worker's event loop.
    """

    @property
    @abstractmethod
    def capacity(self) -> int:
        """How many runs the worker has room for; 0 until it has booted."""

    @property
    @abstractmethod
    def free(self) -> int:
        """How many offers would be taken now."""

    @property
    @abstractmethod
    def busy(self) -> int:
        """How many slots are taken: nothing of a run is alive when its slot is free."""

    @property
    @abstractmethod
    def fit(self) -> Health:
        """Whether offers are taken while a slot is free; why not, when the machine is unfit or the worker is
        stopping."""

    @abstractmethod
    def offer(self, offer: Offer) -> Taken | OfferRefused:
        """Hands over a run. It is taken while a slot is free, at any time. Raises nothing."""

    @abstractmethod
    def withdraw(self, run: RunKey, *, canceled: bool, why: str) -> None:
        """The peer of a run cancelled it: the run is ended, and the peer is answered. Or the peer is disconnected, and
        the run is lost: it is ended, and nobody is answered. A run that is over or unknown is ignored.
        """

    @abstractmethod
    def detach(self, run: RunKey) -> bool:
        """The peer of a run is disconnected, and the run goes on without one. Its log waits for the next peer, at most
        half a minute after the end; its state and its answer are kept. False: the run is over or unknown.
        """

    @abstractmethod
    def attach(self, run: RunKey, peer: Peer) -> bool:
        """Gives a run another peer, which is told the present state of the run at once, and the answer if the run is
        over; then whatever comes. The peer before is told nothing more. False: the run is lost, refused or unknown; a
        thousand runs that are over are known.
        """

    @abstractmethod
    def drain(self, why: str) -> None:
        """The worker takes no more runs, finishes those that it has, and stops."""


class PushSource(ABC):
    """A server, or a connection, through which peers dispatch runs."""

    @abstractmethod
    async def serve(self, credits: Credits) -> None:  # noqa: A002  the word that the rest of the file uses
        """Listens and makes offers until it is cancelled, from the end of the worker's booting to its end: while the
        worker is paused or draining, offers are refused with the reason.

        Raises: Unavailable (it cannot listen; it is served again after a while).
        """
