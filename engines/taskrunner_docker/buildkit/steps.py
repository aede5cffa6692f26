"""The steps of a build: the state of each, and the one that failed."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from taskrunner.model import Progress
from taskrunner_docker.buildkit.trace import Vertex

MAX_STEPS = 20_000
"""Far more than a build has: a daemon that reports more must not fill the worker's memory."""
CANCELED = "context canceled"
"""The error of a step that was ended because another one had failed."""


@attrs.define
class BuildStep:
    """The state of one step."""

    number: int
    """From 1, in the order of the first reports."""
    name: str
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    error: str = ""

    @property
    def ending(self) -> str:
        """Its end, as the log has it; empty while it runs."""
        if self.error:
            return "CANCELED" if self.error.endswith(CANCELED) else f"ERROR: {self.error}"
        if self.completed is None:
            return ""
        return "CACHED" if self.cached else f"DONE {self.completed - (self.started or self.completed):.1f}s"


class Steps:
    """All steps of one build, by the digest that the daemon gives them."""

    def __init__(self) -> None:
        self._steps: dict[str, BuildStep] = {}
        self._latest = ""
        self._finished = 0

    def __iter__(self) -> Iterator[BuildStep]:
        return iter(self._steps.values())

    def find(self, digest: str) -> BuildStep | None:
        return self._steps.get(digest)

    def update(self, vertex: Vertex) -> BuildStep | None:
        """The step with this change of its state. None beyond MAX_STEPS."""
        step = self._steps.get(vertex.digest)
        if step is None:
            if len(self._steps) >= MAX_STEPS:
                return None
            step = self._steps[vertex.digest] = BuildStep(len(self._steps) + 1, " ".join(vertex.name.split()))
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

    def failed(self) -> BuildStep | None:
        """The first step that failed by itself."""
        return next((step for step in self if step.error and step.ending != "CANCELED"), None)
