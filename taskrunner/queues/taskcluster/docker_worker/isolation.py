"""What separates a container of docker-worker from the machine, in the words of the Docker platform.

docker-worker leaves a container what Docker itself gives, so that `sudo` and `ping` work. What goes beyond needs a
scope of the task, as there, and the platform's table `[docker.allow]`: the worker's operator decides.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from taskrunner.model import Json
from taskrunner.queues.taskcluster.docker_worker.payload import Payload

DOCKERS_OWN = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SETPCAP", "SYS_CHROOT")
"""Capabilities that Docker gives by default, and the platform only to a task that names them."""

PTRACE = "SYS_PTRACE"
SHARED_MEMORY = "/dev/shm"  # noqa: S108  the machine's own is what is asked for


CAPABILITY = "docker-worker:capability:"


@attrs.frozen
class Beyond:
    """Something that reaches the machine."""

    field: str
    """Where the author has written it."""
    scope: str
    """Which the task needs for it, in the words of docker-worker."""
    path: str
    """Where it is in the document of the Docker platform."""

    def scopes_in(self, task_queue: str) -> tuple[str, ...]:
        """Each of these is enough: a capability may be granted for the workers of one task queue alone."""
        return (self.scope, f"{self.scope}:{task_queue}") if self.scope.startswith(CAPABILITY) else (self.scope,)


def beyond(payload: Payload) -> Iterator[Beyond]:
    """What a payload asks for and this worker can give."""
    wanted, devices = payload.capabilities, payload.capabilities.devices
    if wanted.privileged:
        scope = f"{CAPABILITY}privileged"
        yield Beyond("payload.capabilities.privileged", scope, "isolation.privileged")
    if payload.features.allowPtrace:
        path = "isolation" if wanted.privileged else f"isolation.capabilities[{len(DOCKERS_OWN)}]"
        yield Beyond("payload.features.allowPtrace", "docker-worker:feature:allowPtrace", path)
    for name, path in (("kvm", "isolation.devices[0]"), ("hostSharedMemory", "isolation.host_folders[0]")):
        if getattr(devices, name):
            yield Beyond(f"payload.capabilities.devices.{name}", f"{CAPABILITY}device:{name}", path)


def isolation_fields(payload: Payload) -> dict[str, Json]:
    """The field `isolation`."""
    devices = payload.capabilities.devices
    fields: dict[str, Json] = {}
    if payload.capabilities.privileged:
        fields["privileged"] = True
    else:
        ptrace = [PTRACE] if payload.features.allowPtrace else []
        fields |= {"new_privileges": True, "capabilities": [*DOCKERS_OWN, *ptrace]}
    if devices.kvm:
        fields["devices"] = ["/dev/kvm"]
    if devices.hostSharedMemory:
        fields["host_folders"] = [{"path": SHARED_MEMORY, "target": SHARED_MEMORY, "read_only": False}]
    return fields


def authors_path(payload: Payload, path: str) -> str | None:
    """The author's word for a path below `isolation`; None for one that the author has not written."""
    return next((each.field for each in beyond(payload) if path == each.path or path.startswith(f"{each.path}.")), None)
