"""Building an image through the Docker API: BuildKit, and a session that serves it the context."""

from taskrunner_docker.buildkit.copies import Copies
from taskrunner_docker.buildkit.request import BuildOutcome, BuildRequest
from taskrunner_docker.buildkit.solve import build

__all__ = ["BuildOutcome", "BuildRequest", "Copies", "build"]
