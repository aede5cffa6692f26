"""The image of the last step of a build that came to no end. The daemon keeps it, and its parents, as a cache."""

from __future__ import annotations

import contextlib
import json

from taskrunner.connections import Connections
from taskrunner.errors import Unavailable
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError

_MAX_ANSWER = 1 << 20
"""Bytes of an image's description."""


def remove_last_image(client: DockerClient, image: str) -> None:
    """Removes it with its parents that have no name. A base image has a name, or a digest, and stays; so does what
    another build uses. Best effort: blocks, and raises nothing."""
    connections = Connections()
    try:
        with contextlib.suppress(DockerError, Unavailable, ValueError):
            with client.exchange(connections, "GET", f"/images/{image}/json") as answer:
                found = json.loads(answer.read(_MAX_ANSWER))
            if not found.get("RepoTags") and not found.get("RepoDigests") and found.get("Parent"):
                client.exchange(connections, "DELETE", f"/images/{image}").close()
    finally:
        connections.close()
