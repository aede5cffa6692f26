"""The registries of a Dockerfile's base images: without a session, their logins are sent with the request."""

from __future__ import annotations

import posixpath
import re
import stat

from taskrunner.errors import TaskFailedInternally
from taskrunner_docker.buildkit.request import BuildRequest
from taskrunner_docker.context.follow_paths import MOST_LINKS, link_target
from taskrunner_docker.registry.references import DOCKER_HUB, Reference
from taskrunner_git import read_small

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE | re.MULTILINE)
_HUB_ADDRESS = "https://index.docker.io/v1/"


def base_registries(request: BuildRequest) -> set[str]:
    """Their names as the daemon expects them. A name that an ARG completes is not followed.

    Raises: TaskFailedInternally (the context cannot be read).
    """
    try:
        if not (path := _dockerfile(request)):
            return set()
        text = read_small(request.context, path).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        raise TaskFailedInternally(f"the build context cannot be read: {error}") from error
    return {registry for name in _FROM.findall(text) if (registry := _registry(name))}


def _dockerfile(request: BuildRequest) -> str:
    """The path of the file that a link as the Dockerfile leads to. Empty where there is none: the daemon says why."""
    files = {entry.path: entry for entry in request.context.entries() if not stat.S_ISDIR(entry.mode)}
    path = posixpath.normpath(request.dockerfile)
    for _ in range(MOST_LINKS):
        if (entry := files.get(path)) is None:
            return ""
        if stat.S_ISREG(entry.mode):
            return path
        path = link_target(path, entry.link)
    return ""


def _registry(name: str) -> str:
    try:
        registry = Reference.parse(name).registry
    except ValueError:
        return ""
    return _HUB_ADDRESS if registry == DOCKER_HUB else registry
