"""What marks the things in Docker that belong to a worker, so that they are found again when it has died.

Containers, networks and volumes carry labels. Images do not: a label is part of an image, so it would publish the
worker's name with it and give every build of the same commit another digest. An image that is being built is
marked by its tag instead, in a repository of its worker's.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import attrs

from taskrunner.model import RunKey

WORKER = "taskrunner.worker"
TASK = "taskrunner.task"
RUN = "taskrunner.run"
HOME = "taskrunner.home"

_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
_READABLE = 40
"""Characters of a task's id that a name shows; the digest beside them makes it unique."""


@attrs.frozen
class Marks:
    """The marks of one worker."""

    worker_id: str
    home: Path

    @property
    def pushing(self) -> Path:
        """Where it notes what it is pushing."""
        return self.home / "docker" / "pushing" / _digest(self.worker_id)

    @property
    def worker_labels(self) -> dict[str, str]:
        """For what no single run is the reason of."""
        return {WORKER: self.worker_id, HOME: str(self.home)}

    def labels(self, run: RunKey) -> dict[str, str]:
        """For everything that is made for a run."""
        return {**self.worker_labels, TASK: run.task_id, RUN: str(run)}

    def container_name(self, run: RunKey) -> str:
        """The same for the same run: creating it twice fails, so that it never runs twice."""
        shown = _UNFIT.sub("-", run.task_id)[:_READABLE]
        return f"taskrunner-{shown}-{run.run_id}-{_digest(str(self.home), str(run))}"

    def build_tag(self, run: RunKey) -> str:
        """The name under which the image of a run is built."""
        return f"{build_repository(self.worker_id)}:{_digest(str(self.home), str(run))}"


def build_repository(worker_id: str) -> str:
    """Holds the images that a worker is building."""
    return f"taskrunner-build/{_digest(worker_id)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
