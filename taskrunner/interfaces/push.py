"""PushSource: work that a peer hands us, instead of us asking for it.

`taskrunner.queues.push.PushQueue` makes a Queue of one, so that nothing else in the worker knows the difference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import attrs

from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.model import Resolution, Submission


class Peer(ABC):
    """Whoever dispatched one run and waits for its answer."""

    @abstractmethod
    async def answer(self, resolution: Resolution) -> None:
        """Tells how the run ended. Called at most once. Raises ClaimLost when nobody listens any more."""

    @abstractmethod
    async def refuse(self, reason: str) -> None:
        """Hands the run back unstarted, or interrupted: somebody else must take it. Instead of `answer`."""

    async def send_log(self, offset: int, chunk: bytes) -> None:
        """A piece of the log, if the protocol carries one. Best effort."""

    def artifacts(self) -> ArtifactStore | None:
        """The stream back to the peer as a store, if the protocol carries artifacts."""
        return None


@attrs.frozen
class Offer:
    """One run that a peer wants done."""

    submission: Submission
    peer: Peer


class Credits(ABC):
    """What the queue gives a source: the only way for work to come in."""

    @abstractmethod
    def offer(self, offer: Offer) -> bool:
        """Hands over a run. False when no slot waits for one: the source refuses it ("busy") in its own protocol."""

    @abstractmethod
    def gone(self, task_id: str, *, canceled: bool, why: str) -> None:
        """The peer of a run hung up, or cancelled it: the run is lost, or cancelled."""

    @property
    @abstractmethod
    def free(self) -> int:
        """How many runs would be taken now."""


class PushSource(ABC):
    """A server, or a connection, that peers dispatch runs through."""

    @abstractmethod
    async def serve(self, credits: Credits) -> None:  # noqa: A002  the word that the rest of the file uses
        """Listens and makes offers until it is cancelled. Raises Unavailable when it cannot listen."""
