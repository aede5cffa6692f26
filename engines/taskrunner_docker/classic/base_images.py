"""The registries of a Dockerfile's base images: without a session, their logins are sent with the request."""

from __future__ import annotations

import re

from taskrunner.errors import TaskFailedInternally
from taskrunner_docker.buildkit.request import BuildRequest
from taskrunner_docker.registry.references import DOCKER_HUB, Reference
from taskrunner_git import read_small

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE | re.MULTILINE)
_HUB_ADDRESS = "https://index.docker.io/v1/"


def base_registries(request: BuildRequest) -> set[str]:
    """Their names as the daemon expects them. A name that an ARG completes is not followed.

    Raises: TaskFailedInternally (the context cannot be read).
    """
    try:
        if not any(entry.path == request.dockerfile for entry in request.context.entries()):
            return set()
        text = read_small(request.context, request.dockerfile).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        raise TaskFailedInternally(f"the build context cannot be read: {error}") from error
    return {registry for name in _FROM.findall(text) if (registry := _registry(name))}


def _registry(name: str) -> str:
    try:
        registry = Reference.parse(name).registry
    except ValueError:
        return ""
    return _HUB_ADDRESS if registry == DOCKER_HUB else registry
