"""Which way of keeping a run's processes together works on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from taskrunner_process.trees.portable import PortableForest
from taskrunner_process.trees.tree import Forest


def forests(worker_id: str) -> Iterator[Forest]:
    """Every way that works here, the best first; each is opened when it is asked for, and the caller closes it."""
    if sys.platform == "linux":
        from taskrunner_process.trees.cgroup import open_cgroups
        from taskrunner_process.trees.linux import SubreaperForest

        yield from open_cgroups(worker_id)
        yield SubreaperForest(worker_id)
    yield PortableForest(worker_id)
