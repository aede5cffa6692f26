"""What separates a container from the machine, and what of that the operator lets a task give up.

By default a process can gain no privileges by running a program (`no-new-privileges`), and root has those capabilities
that installing packages, changing owners and changing users needs. See `KEPT`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal

import attrs
from attrs.validators import and_, deep_iterable, ge, le, matches_re

from taskrunner.errors import Complaint

KEPT = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
"""The capabilities of root in a container: apt-get, chown, su and a server that drops its user work with these."""

GIVEN_BACK = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SETPCAP", "SYS_CHROOT")
"""The rest of what Docker gives by default, which a task gets back by naming it. Few tasks need it, and NET_RAW lets a
container forge packets on its network."""

CAPABILITY_PATTERN = r"[A-Z][A-Z_]{1,30}"

MAX_GPUS = 64
"""More than a machine has."""

_PATH = matches_re(r"/[^\x00-\x1f\x7f:]*")


@attrs.frozen
class HostFolder:
    """A folder or a file of the worker's machine in the container."""

    path: str = attrs.field(
        validator=_PATH, metadata={"doc": "Its full path on the machine.", "hint": "write the full path"}
    )
    target: str = attrs.field(
        validator=_PATH, metadata={"doc": "Its full path in the container.", "hint": "write the full path"}
    )
    read_only: bool = attrs.field(default=True, metadata={"doc": "Whether the task may only read it."})


@attrs.frozen
class ContainerIsolation:
    """As whom a container runs, and what it may do. What reaches the machine is refused unless the operator allows
    it in `[docker.allow]`."""

    user: str = attrs.field(
        default="",
        validator=matches_re(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?)?"),
        metadata={
            "doc": "Run as this user of the image, by name or number, with or without a group: 1000:1000.",
            "hint": "write a name or number, with or without a group: 1000:1000",
        },
    )
    read_only_root: bool = attrs.field(
        default=False, metadata={"doc": "Let the container write to its mounts alone: caches and `limits.tmpfs`."}
    )
    capabilities: tuple[str, ...] = attrs.field(
        default=(),
        validator=deep_iterable(matches_re(CAPABILITY_PATTERN)),
        metadata={
            "doc": f"Give root these capabilities back: {', '.join(GIVEN_BACK)}. Others need [docker.allow].",
            "hint": "write names without CAP_, in capitals: NET_RAW",
        },
    )
    new_privileges: bool = attrs.field(
        default=False, metadata={"doc": "Let programs give privileges to who runs them, as `sudo` does."}
    )
    privileged: bool = attrs.field(
        default=False, metadata={"doc": "No separation from the machine at all. Needs [docker.allow]."}
    )
    devices: tuple[str, ...] = attrs.field(
        default=(),
        validator=deep_iterable(matches_re(r"/dev/[A-Za-z0-9_.+/-]+")),
        metadata={
            "doc": "Devices of the machine, at the same paths: /dev/kvm. Needs [docker.allow].",
            "hint": "write a path below /dev: /dev/kvm",
        },
    )
    gpus: int = attrs.field(
        default=0,
        validator=and_(ge(0), le(MAX_GPUS)),
        metadata={"doc": "How many GPUs the container sees. Needs [docker.allow]."},
    )
    host_folders: tuple[HostFolder, ...] = attrs.field(
        default=(), metadata={"doc": "Folders and files of the machine. Needs [docker.allow]."}
    )


@attrs.frozen
class Allowed:
    """The `[docker.allow]` table of the worker's configuration: what reaches the machine. By default nothing."""

    privileged: bool = attrs.field(
        default=False, metadata={"doc": "Privileged containers: whoever submits a task is root on this machine."}
    )
    capabilities: tuple[str, ...] = attrs.field(
        default=(),
        validator=deep_iterable(matches_re(CAPABILITY_PATTERN)),
        metadata={
            "doc": "Capabilities beyond Docker's own: SYS_PTRACE.",
            "hint": "write names without CAP_: SYS_PTRACE",
        },
    )
    devices: tuple[str, ...] = attrs.field(
        default=(), metadata={"doc": "Paths of devices, with * and ?: /dev/kvm, /dev/dri/*."}
    )
    gpus: bool = attrs.field(default=False, metadata={"doc": "GPUs, by Docker's own support of them."})
    host_folders: Mapping[str, Literal["read-only", "read-write"]] = attrs.field(
        factory=dict,
        metadata={
            "doc": "Folders and files, by their full paths, and how. What lies below one is not meant: a link that a "
            "task has made there could lead anywhere."
        },
    )


def isolation_complaints(isolation: ContainerIsolation) -> Iterator[Complaint]:
    """The mistakes that types cannot find, whatever the worker."""
    for index, folder in enumerate(isolation.host_folders):
        for name in ("path", "target"):
            if not _is_plain(getattr(folder, name)):
                yield Complaint(f"isolation.host_folders[{index}].{name}", "is not plain", "write it without . and ..")
        if folder.target == "/":
            fix = "name a folder of its own"
            yield Complaint(f"isolation.host_folders[{index}].target", "is the container's root", fix)
    for index, device in enumerate(isolation.devices):
        if not _is_plain(device):
            yield Complaint(f"isolation.devices[{index}]", "is not plain", "write it without . and ..")
    for name in ("capabilities", "new_privileges"):
        if isolation.privileged and getattr(isolation, name):
            yield Complaint(f"isolation.{name}", "is part of `privileged`", "leave one of them out")


def refusals(isolation: ContainerIsolation, allowed: Allowed) -> Iterator[Complaint]:
    """What the operator does not allow."""
    if isolation.privileged and not allowed.privileged:
        yield _refusal("privileged", "this worker runs no privileged containers", "set `privileged`")
    for index, name in enumerate(isolation.capabilities):
        if name not in (*KEPT, *GIVEN_BACK, *allowed.capabilities):
            what = f"this worker gives no container {name}"
            yield _refusal(f"capabilities[{index}]", what, "add it to `capabilities`")
    for index, device in enumerate(isolation.devices):
        if not any(fnmatchcase(device, pattern) for pattern in allowed.devices):
            yield _refusal(f"devices[{index}]", f"this worker gives no container {device}", "add it to `devices`")
    if isolation.gpus and not allowed.gpus:
        yield _refusal("gpus", "this worker gives no container a GPU", "set `gpus`")
    for index, folder in enumerate(isolation.host_folders):
        yield from _folder_refusal(f"host_folders[{index}]", folder, allowed.host_folders.get(folder.path, ""))


def _folder_refusal(where: str, folder: HostFolder, access: str) -> Iterator[Complaint]:
    if not access:
        yield _refusal(where, f"this worker gives no container {folder.path}", "add it to `host_folders`")
    elif access == "read-only" and not folder.read_only:
        what = f"this worker lets containers read {folder.path} only"
        yield _refusal(f"{where}.read_only", what, 'make it "read-write" in `host_folders`')


def _refusal(field: str, what: str, setting: str) -> Complaint:
    return Complaint(f"isolation.{field}", what, f"leave it out, or let the operator {setting} in [docker.allow]")


def _is_plain(path: str) -> bool:
    return str(PurePosixPath(path)) == path and ".." not in PurePosixPath(path).parts
