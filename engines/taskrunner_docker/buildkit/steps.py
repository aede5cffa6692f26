"""The steps of a build: which there are, how far each is, and which one failed."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from taskrunner.model import Progress
from taskrunner_docker.buildkit.trace import Vertex

MAX_STEPS = 20_000
"""Far more than a build has; a daemon that invents steps must not fill our memory."""
CANCELED = "context canceled"
"""The error of a step that was ended because another one had failed."""


@attrs.define
class Step:
    """What is known of one step."""

    number: int
    """From 1, in the order in which they were first heard of."""
    name: str
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    error: str = ""

    @property
    def ending(self) -> str:
        """How it ended, as a log says it; empty while it has not."""
        if self.error:
            return "CANCELED" if self.error.endswith(CANCELED) else f"ERROR: {self.error}"
        if self.completed is None:
            return ""
        return "CACHED" if self.cached else f"DONE {self.completed - (self.started or self.completed):.1f}s"


class Steps:
    """All steps of one build, by the digest that the daemon gives them."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}
        self._latest = ""
        self._finished = 0

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps.values())

    def find(self, digest: str) -> Step | None:
        return self._steps.get(digest)

    def update(self, vertex: Vertex) -> Step | None:
        """The step, with what this message says of it. None for one too many."""
        step = self._steps.get(vertex.digest)
        if step is None:
            if len(self._steps) >= MAX_STEPS:
                return None
            step = self._steps[vertex.digest] = Step(len(self._steps) + 1, " ".join(vertex.name.split()))
        was_finished = step.ending != ""
        if vertex.started is not None and step.started is None:
            self._latest = step.name
        step.started = vertex.started if vertex.started is not None else step.started
        step.completed = vertex.completed if vertex.completed is not None else step.completed
        step.cached = vertex.cached or step.cached
        step.error = vertex.error or step.error
        self._finished += (step.ending != "") - was_finished
        return step

    def progress(self) -> Progress:
        return Progress("build", done=self._finished, total=len(self._steps), unit="steps", note=self._latest)

    def failed(self) -> Step | None:
        """The step that failed first of all by itself."""
        return next((step for step in self if step.error and step.ending != "CANCELED"), None)
