"""The data of one build."""

from __future__ import annotations

import attrs

from taskrunner.interfaces.platform import RunContext
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.buildkit import Copies
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.images.housekeeping import Housekeeping
from taskrunner_docker.payload import BuildSpec
from taskrunner_docker.registry.transfer import Transfers


@attrs.frozen
class BuildJob:
    """Shared by engine, execution and results of one build."""

    client: DockerClient
    labels: WorkerLabels
    transfers: Transfers
    context: RunContext
    housekeeping: Housekeeping
    spec: BuildSpec

    @property
    def tag(self) -> str:
        """The name of the image during this run. The author's tags are set when it is delivered."""
        return self.labels.build_tag(self.context.run)

    @property
    def copies(self) -> Copies:
        """What Docker has of the contexts of this home's builds."""
        return Copies(self.labels.home / "docker" / "contexts")
