"""Whether the next run may have a namespace that a run had before.

The processes of that run are dead, and with the usual capabilities none of them could change interfaces, routes or
firewall, or forge packets: `/proc/sys` is read-only for them. What can be left is checked here: sockets, and the files
in `/etc` that Docker shares between the containers of one namespace, which root in a container may write to. A
namespace that cannot be checked is not clean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.errors import Unavailable
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.isolation import KEPT
from taskrunner_docker.pod.pause import Pause, read_shared_files
from taskrunner_docker.pod.sockets import Sockets

_RIGHTS = ("Privileged", "Devices", "DeviceRequests", "Sysctls", "PidMode", "UsernsMode")
"""Keys of a container's `HostConfig` by which it could change its namespace in ways that are not checked."""
_LIMIT = 10.0
"""Seconds to read some files that the kernel makes."""


def has_more_rights(body: Mapping[str, Any]) -> bool:
    """Whether a container with this configuration may change more of its namespace than is checked."""
    host_config = body["HostConfig"]
    more = set(host_config.get("CapAdd") or ()) - set(KEPT)
    return bool(more) or any(host_config.get(key) for key in _RIGHTS)


async def traces(client: DockerClient, pause: Pause) -> str:
    """What the last run has left; empty when it is clean. Raises nothing."""
    try:
        if left := await run_blocking(lambda: _sockets(pause), limit=_LIMIT, doing="looking for sockets"):
            return left
        if await read_shared_files(client, pause.container) != pause.shared_files:
            return "its files in /etc were changed"
    except (OSError, OverLimit, DockerError, Unavailable) as error:
        return f"it cannot be checked: {error}"
    return ""


def _sockets(pause: Pause) -> str:
    if not pause.is_in_sight:
        return "its sockets cannot be seen from here"
    left = Sockets(pause.pid).left()
    return f"it has sockets: {', '.join(left)}" if left else ""
