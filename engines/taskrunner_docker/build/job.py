"""What everybody who works on one build has to hand."""

from __future__ import annotations

import attrs

from taskrunner.interfaces.platform import RunContext
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.cleanup.labels import Marks
from taskrunner_docker.payload import BuildSpec
from taskrunner_docker.registry.transfer import Transfers


@attrs.frozen
class BuildJob:
    """What engine, execution and results of one build share."""

    client: DockerClient
    marks: Marks
    transfers: Transfers
    context: RunContext
    spec: BuildSpec

    @property
    def tag(self) -> str:
        """The name that the image has while this run lasts; the author's own are given when it is delivered."""
        return self.marks.build_tag(self.context.run)
