"""Whether a container has used up the disk that it may, in words."""

from __future__ import annotations

from functools import partial
from typing import Any

from taskrunner.byte_counts import bytes_text
from taskrunner.errors import Unavailable
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError

OUT_OF_DISK = "out-of-disk"
"""The reason of the run."""

REST = 16
"""A disk counts as full when at most this part of it is left: a program that fails to write leaves a bit of it free,
and the kernel counts what Docker does not, such as the list of the files."""

_WITH_IMAGE = frozenset({"btrfs"})
"""Storage drivers whose limit is for all that the container sees: its image, and what it has written."""


async def out_of_disk(client: DockerClient, container: str) -> str:
    """What happened, when a container has used up its `limits.disk`; empty when it has not, or has no limit. Docker
    looks at each file that the container has written. Raises nothing: the end is told without it."""
    try:
        found: dict[str, Any] = await client.call(client.api.inspect_container, container)
        size = (found["HostConfig"].get("StorageOpt") or {}).get("size", "0")
        if not (limit := int(size)):
            return ""
        listed = partial(client.api.containers, all=True, size=True, filters={"id": container})
        (sizes,) = await client.call(listed)
    except (DockerError, Unavailable, ValueError):
        return ""
    return out_of_disk_text(found.get("Driver", ""), sizes, limit)


def out_of_disk_text(driver: str, sizes: dict[str, Any], limit: int) -> str:
    """`sizes` as in Docker's list of containers, in bytes; `limit` too."""
    with_image = driver in _WITH_IMAGE
    used = sizes.get("SizeRootFs" if with_image else "SizeRw") or 0
    if limit - used > limit // REST:
        return ""
    what = "the files of its image and those that it has written have" if with_image else "what it has written has"
    return (
        f"the disk of the container is full: {what} {bytes_text(used)} ({used} bytes), its limit is "
        f"{bytes_text(limit)} ({limit} bytes); ask for more in `limits.disk`"
    )
