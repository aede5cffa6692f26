"""PushSource: work that peers dispatch to us, instead of a queue that we claim from.

`taskrunner.PushQueue` makes a Queue of a source, so that the rest of the worker sees no difference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import attrs

from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.model import Resolution, Submission


class Peer(ABC):
    """The other side of one run: it dispatched the run and waits for the answer."""

    @abstractmethod
    async def answer(self, resolution: Resolution) -> None:
        """Sends how the run ended. Called at most once. Raises ClaimLost when the peer is disconnected."""

    @abstractmethod
    async def refuse(self, reason: str) -> None:
        """Hands the run back, unstarted or interrupted, for another worker. Called instead of `answer`."""

    async def send_log(self, offset: int, chunk: bytes) -> None:
        """Sends a piece of the log, if the protocol carries one. Best effort."""

    def artifacts(self) -> ArtifactStore | None:
        """The stream back to the peer as a store, if the protocol carries artifacts."""
        return None


@attrs.frozen
class Offer:
    """One run that a peer dispatched."""

    submission: Submission
    peer: Peer


class Credits(ABC):
    """What the queue passes to a source: the only way for work to come in."""

    @abstractmethod
    def offer(self, offer: Offer) -> bool:
        """Hands over a run. False when no slot is free: the source then refuses it ("busy") in its own protocol."""

    @abstractmethod
    def withdraw(self, task_id: str, *, canceled: bool, why: str) -> None:
        """The peer of a run cancelled it, or disconnected: the run is cancelled, or lost."""

    @property
    @abstractmethod
    def free(self) -> int:
        """How many runs would be accepted now."""


class PushSource(ABC):
    """A server, or a connection, through which peers dispatch runs."""

    @abstractmethod
    async def serve(self, credits: Credits) -> None:  # noqa: A002  the word that the rest of the file uses
        """Listens and makes offers until it is cancelled. Raises Unavailable when it cannot listen."""
