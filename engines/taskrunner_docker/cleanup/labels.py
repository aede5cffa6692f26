"""The labels and names of what a worker makes in Docker, by which crash recovery finds it.

Containers, networks and volumes carry labels. Images do not: a label is part of an image, so it would publish the
worker's name with it and give every build of the same commit another digest. An image that is being built has a
tag in a repository of its worker instead.
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
"""Characters of a task's id in a name. The digest beside them makes it unique."""


@attrs.frozen
class WorkerLabels:
    """The labels and names of one worker."""

    worker_id: str
    home: Path

    @property
    def push_folder(self) -> Path:
        """The folder of its push records."""
        return self.home / "docker" / "pushing" / _digest(self.worker_id)

    @property
    def of_worker(self) -> dict[str, str]:
        """For objects that belong to no single run."""
        return {WORKER: self.worker_id, HOME: str(self.home)}

    def of_run(self, run: RunKey) -> dict[str, str]:
        """For all objects of a run."""
        return {**self.of_worker, TASK: run.task_id, RUN: str(run)}

    def container_name(self, run: RunKey) -> str:
        """The same for the same run. Creating it twice fails, so that a run never starts twice."""
        shown = _UNFIT.sub("-", run.task_id)[:_READABLE]
        return f"taskrunner-{shown}-{run.run_id}-{_digest(str(self.home), str(run))}"

    def build_tag(self, run: RunKey) -> str:
        """The name under which the image of a run is built."""
        return f"{build_repository(self.worker_id)}:{_digest(str(self.home), str(run))}"


def build_repository(worker_id: str) -> str:
    """The repository of the images that a worker is building."""
    return f"taskrunner-build/{_digest(worker_id)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
