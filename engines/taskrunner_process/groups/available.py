"""Which way of keeping a run's processes together works on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from taskrunner_process.groups.group import ProcessGroups
from taskrunner_process.groups.portable import PortableGroups


def available_groups(worker_id: str) -> Iterator[ProcessGroups]:
    """Every way that works here, the best first; each is opened when it is asked for, and the caller closes it."""
    if sys.platform == "linux":
        from taskrunner_process.groups.cgroup import open_cgroups
        from taskrunner_process.groups.subreaper import SubreaperGroups

        yield from open_cgroups(worker_id)
        yield SubreaperGroups(worker_id)
    yield PortableGroups(worker_id)
