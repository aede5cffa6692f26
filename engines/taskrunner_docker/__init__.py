"""The platform `docker`: runs images, and builds them from git repositories.

platform      the worker's interface; payload and options: the fields of a task and of the configuration
container     running an image: its output, further commands, files, caches
build         building one from a commit, and delivering it
buildkit      one build: the request, the session that serves it, the log
context       which files of a build context are sent: `.dockerignore`, followed paths
cleanup       labels of what a worker makes, removing it, crash recovery
registry      image names, logins, pull and push
api           the client of the Docker daemon
"""

from __future__ import annotations

from taskrunner_docker.options import DockerOptions
from taskrunner_docker.payload import BuildSpec, DockerPayload
from taskrunner_docker.platform import DockerPlatform

__all__ = ["BuildSpec", "DockerOptions", "DockerPayload", "DockerPlatform"]
