"""Which ways of keeping the processes of a run together work on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from taskrunner_process.groups.portable import PortableGroups
from taskrunner_process.groups.process_group import ProcessGroups


def available_groups(worker_id: str) -> Iterator[ProcessGroups]:
    """Every way that works here, the best first. Each is opened when it is asked for; the caller closes it."""
    if sys.platform == "linux":
        from taskrunner_process.groups.cgroup import open_cgroups
        from taskrunner_process.groups.subreaper import SubreaperGroups

        yield from open_cgroups(worker_id)
        yield SubreaperGroups(worker_id)
    yield PortableGroups(worker_id)
