"""The platform `docker`: runs images, and builds them from git repositories.

platform      what the worker sees
daemon        the way to Docker: plain calls; stream: answers that last
container     running an image: container_run, container_exec, archive
build         building one: source fetches it, buildkit builds it, build_results pushes it
transfer      pull and push; registries: logging in; ecr: Amazon's passwords; pushing: which names are in between
removal       taking things out of Docker, by the marks in labels
"""

from __future__ import annotations

from taskrunner_docker.options import DockerOptions
from taskrunner_docker.payload import BuildSpec, DockerPayload
from taskrunner_docker.platform import DockerPlatform

__all__ = ["BuildSpec", "DockerOptions", "DockerPayload", "DockerPlatform"]
