"""Which of its two ways a build goes, and what that way does not have.

BuildKit, by a session, has everything but limits: Docker does not pass them on to it (tried with 20.10, and read in one
recent `builder-next/builder.go` of moby). The classic builder, by a tar, has limits, and is all that a daemon without
sessions has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus

import attrs

from taskrunner.connections import Connections
from taskrunner.errors import Complaint
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.build_fields.limits import BuildLimits
from taskrunner_docker.payload import BuildSpec

_NO_SESSION = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})


@attrs.frozen
class Way:
    """How one build is made."""

    classic_because: str = ""
    """Why BuildKit is not used; empty where it is."""


async def choose_way(client: DockerClient, spec: BuildSpec) -> Way:
    """Raises: Unavailable."""
    if not await client.call(_has_sessions, client):
        return Way("this Docker has no sessions")
    return Way("BuildKit takes no limits of memory and CPUs from Docker") if spec.limits else Way()


async def limit_complaints(client: DockerClient, limits: BuildLimits | None) -> list[Complaint]:
    """The limits that this Docker cannot set. Raises: Unavailable."""
    if limits is None:
        return []
    info = await client.call(client.api.info)
    wanted = {"memory": (limits.memory, "MemoryLimit"), "cpus": (limits.cpus, "CpuCfsQuota")}
    fix = "leave it out, or let the operator give Docker a kernel with this control group"
    return [
        Complaint(f"build.limits.{name}", "is a limit that this Docker cannot set", fix)
        for name, (value, key) in wanted.items()
        if value and not info.get(key)
    ]


def classic_complaints(way: Way, spec: BuildSpec, secrets: Iterable[str]) -> Iterator[Complaint]:
    """What is asked for and needs BuildKit."""
    if not way.classic_because:
        return
    used = {"build.ssh": spec.ssh, "build.cache_to": spec.cache_to, "secrets": [*secrets]}
    fix = "leave it out, or build without `limits`" if spec.limits else "leave it out, or use Docker 18.09 or newer"
    for path, value in used.items():
        if value:
            yield Complaint(path, f"needs BuildKit, and this build is made without: {way.classic_because}", fix)


def _has_sessions(client: DockerClient) -> bool:
    """Asks for a session without the upgrade that one needs: a daemon that has them refuses that."""
    connections = Connections()
    try:
        client.exchange(connections, "POST", "/session").close()
    except DockerError as error:
        return error.status not in _NO_SESSION
    finally:
        connections.close()
    return True
