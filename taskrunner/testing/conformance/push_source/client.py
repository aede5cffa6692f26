"""The other end of a push source: a client of its protocol, and what it gets about one run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import attrs

from taskrunner.model import Document

Kind = Literal["state", "progress", "log", "artifact", "answer", "refusal"]


@attrs.frozen
class PeerMessage:
    """One message about a run. What belongs together may come in several messages: a log, an artifact."""

    kind: Kind
    text: str = ""
    """Of a state or a step: its name in the protocol. Of an answer: `completed`, `failed` or `exception`, and the words
    that the protocol carries. Of a refusal: its words."""
    name: str = ""
    """Of an artifact."""
    data: bytes = b""
    """Of the log, or of an artifact."""


class PushClient(ABC):
    """One connection to the source, which dispatches one run. Written by the author of the source, for the tests.

    It reads nothing of its own accord: while `receive` is not called, the source finds a peer that does not read.
    """

    @abstractmethod
    async def dispatch(self, task_id: str, document: Document) -> None:
        """Dispatches a task. Where the messages of the protocol cannot hold this document, a source of the tests' own
        looks it up by the id. Does not wait for the source.
        """

    @abstractmethod
    async def receive(self) -> PeerMessage:
        """The next message about the run. Raises EOFError when the connection has ended."""

    @abstractmethod
    async def cancel(self) -> None:
        """Cancels the run, and stays connected for the answer. Not called when the protocol cannot do that."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Ends the connection without a word. A second call does nothing."""

    async def resume(self, task_id: str) -> None:
        """Instead of `dispatch`: takes over a run whose client has gone. Only called when the source keeps runs."""
        raise NotImplementedError


@attrs.define
class PeerStory:
    """Everything that a client has got about its run."""

    kinds: list[Kind] = attrs.field(factory=list)
    """In their order; several messages of one kind in a row count once."""
    states: list[str] = attrs.field(factory=list)
    steps: list[str] = attrs.field(factory=list)
    log: bytes = b""
    artifacts: dict[str, bytes] = attrs.field(factory=dict)
    end: PeerMessage | None = None
    """The answer or the refusal; None when the connection has ended before."""

    def add(self, message: PeerMessage) -> None:
        if self.kinds[-1:] != [message.kind]:
            self.kinds.append(message.kind)
        match message.kind:
            case "state":
                self.states.append(message.text)
            case "progress":
                self.steps.append(message.text)
            case "log":
                self.log += message.data
            case "artifact":
                self.artifacts[message.name] = self.artifacts.get(message.name, b"") + message.data
            case _:
                self.end = message

    async def listen(self, client: PushClient) -> PeerStory:
        """Reads to the end of the dialogue."""
        while self.end is None:
            try:
                self.add(await client.receive())
            except EOFError:
                break
        return self

    @property
    def answer(self) -> str:
        """Fails a test whose run was not answered."""
        assert self.end is not None, f"the connection ended without an answer, after {self.kinds}"
        assert self.end.kind == "answer", f"instead of an answer there was a refusal: {self.end.text}"
        return self.end.text

    @property
    def refusal(self) -> str:
        """Fails a test whose run was not refused."""
        assert self.end is not None, f"the connection ended without a refusal, after {self.kinds}"
        assert self.end.kind == "refusal", f"instead of a refusal there was an answer: {self.end.text}"
        return self.end.text


__all__ = ["Kind", "PeerMessage", "PeerStory", "PushClient"]
