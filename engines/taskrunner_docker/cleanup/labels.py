"""The names and labels of what a worker makes in Docker.

A name proves the owner: it is made of the worker's id, which stands in a file of the home before the worker starts, and
of the run, which stands in its journal. Crash recovery finds a dead worker's containers and images by it.

Labels prove nothing: a container gets those of its image, and anybody can make an image. They are for people and their
tools. Images have none of ours: a label is part of an image, so it would publish the worker's name with it and give
every build of the same commit another digest.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path

import attrs

from taskrunner.model import RunKey
from taskrunner_docker.payload import BUILDS

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
    def _owner(self) -> str:
        """In names. Two workers on one machine may have the same id; their homes differ."""
        return _digest(f"{self.worker_id}\0{self.home}")

    @property
    def push_folder(self) -> Path:
        """The folder of its push records."""
        return self.home / "docker" / "pushing" / self._owner

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
        return f"taskrunner-{shown}-{run.run_id}-{self._owner}-{_digest(str(run))}"

    def pod_name(self, run: RunKey) -> str:
        """The container whose network the containers of this run have."""
        return self._beside(run, "pod")

    def service_name(self, run: RunKey, name: str) -> str:
        """The container of a service of this run."""
        return self._beside(run, f"service {name}")

    def _beside(self, run: RunKey, what: str) -> str:
        shown = _UNFIT.sub("-", run.task_id)[:_READABLE]
        return f"taskrunner-{shown}-{run.run_id}-{_digest(str(run))}-beside-{self._owner}-{_digest(what)}"

    def is_of_run(self, name: str, run: RunKey) -> bool:
        """Whether it is one of the containers of this run."""
        beside = rf"taskrunner-.*-{_digest(str(run))}-beside-{self._owner}-[0-9a-f]{{16}}"
        return name == self.container_name(run) or bool(re.fullmatch(beside, name))

    def passing_name(self) -> str:
        """A new name for a container that belongs to no run."""
        return f"taskrunner-{self._owner}-{secrets.token_hex(8)}"

    def is_container_name(self, name: str) -> bool:
        """Whether it is one of this worker's containers."""
        return bool(re.fullmatch(rf"taskrunner-(?:.*-)?{self._owner}-[0-9a-f]{{16}}", name))

    @property
    def build_repository(self) -> str:
        """The repository of the images that this worker is building."""
        return f"{BUILDS}/{self._owner}"

    def build_tag(self, run: RunKey) -> str:
        """The name under which the image of a run is built."""
        return f"{self.build_repository}:{_digest(str(run))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
