"""The platform `docker`: runs images, and builds them from git repositories.

platform      the worker's interface; payload and options: the fields of a task and of the configuration
container     running an image: its output, further commands, files, caches
build         building one from a commit, and delivering it
build_fields  groups of fields of a build
classic       one build without BuildKit
buildkit      one build: the request, the session that serves it, the log
context       which files of a build context are sent: `.dockerignore`, followed paths
images        pull policies, shared pulls, mirrors, and the images that are removed again
cleanup       labels of what a worker makes, removing it, crash recovery
registry      image names, logins, pull and push
ssh           the agent of a build, for its keys
api           the client of the Docker daemon
"""

from __future__ import annotations

from taskrunner_docker.options import DockerOptions
from taskrunner_docker.payload import BuildSpec, DockerPayload
from taskrunner_docker.platform import DockerPlatform

__all__ = ["BuildSpec", "DockerOptions", "DockerPayload", "DockerPlatform"]
