"""Whether a container ran out of memory, in words."""

from __future__ import annotations

from functools import partial
from typing import Any

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.byte_counts import bytes_text
from taskrunner.connections import Connections
from taskrunner.errors import Unavailable
from taskrunner_docker.api.client import END_TIMEOUT, DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.api.oom_events import was_out_of_memory

_EVENTS_TIMEOUT = 10.0
"""Seconds for the daemon to say what it remembers, which it has in memory."""


async def out_of_memory(
    client: DockerClient, container: str, *, who: str = "the container", setting: str = "`resources.memory`"
) -> str:
    """What happened, when the kernel has killed any process of an ended container for memory; empty when it has not.
    `who` names the container, and `setting` its limit. Raises Unavailable."""
    try:
        found: dict[str, Any] = await client.call(client.api.inspect_container, container)
    except DockerError:
        return ""  # another program removed it: its output and exit code are still reported
    if not found["State"].get("OOMKilled"):
        return ""
    return out_of_memory_text(found["HostConfig"].get("Memory") or 0, who, setting)


async def had_oom_kill(client: DockerClient, container: str, since: float) -> bool:
    """Whether the kernel has killed any process of a container that runs, since a moment in seconds since 1970. False
    when Docker does not say."""
    connections = Connections()
    try:
        return await run_blocking(
            partial(was_out_of_memory, client, connections, container, since),
            limit=_EVENTS_TIMEOUT,
            doing="asking for events",
            interrupt=connections.interrupt,
            grace=END_TIMEOUT,
        )
    except (DockerError, OSError, OverLimit, Unavailable):
        return False
    finally:
        connections.close()


def out_of_memory_text(limit: int, who: str, setting: str) -> str:
    """`limit` is in bytes; 0: there is none. The kernel kills when the use of memory has reached the limit, so that
    limit is the peak too. The container's own count of it is gone with the container."""
    what = f"{who} ran out of memory, and the kernel killed a process in it"
    if not limit:
        return f"{what}: it has no limit, and the machine had no more"
    return f"{what}: its peak was its limit, {bytes_text(limit)} ({limit} bytes); ask for more in {setting}"
