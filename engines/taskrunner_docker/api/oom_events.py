"""Whether the kernel has killed any process of a container for memory, by what the daemon remembers: also of one that
goes on, or that is gone."""

from __future__ import annotations

import json
import time

from taskrunner.connections import Connections
from taskrunner_docker.api.client import DockerClient

_MAX_EVENTS = 1 << 20
"""Bytes that are read."""


def was_out_of_memory(client: DockerClient, connections: Connections, container: str, since: float) -> bool:
    """`since` is when the container began, in seconds since 1970. Blocks. Raises: DockerError, Unavailable."""
    query = {
        "since": str(int(since)),
        "until": f"{time.time():.9f}",
        "filters": json.dumps({"type": ["container"], "event": ["oom"], "container": [container]}),
    }
    with client.exchange(connections, "GET", "/events", query) as answer:
        return bool(answer.read(_MAX_EVENTS).strip())
