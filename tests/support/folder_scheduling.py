"""What `pytest -n 2` runs side by side: files, except where their tests share what a machine has once.

It is no `xdist_group`: xdist 3.8 writes that into a name that pytest 9 does not read.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

TOGETHER = {"docker": "docker", "e2e": "docker", "process": "process"}
"""Folders of `tests/` whose tests run one after the other: they share a daemon, or control groups and accounts."""


class FolderScheduling(LoadScopeScheduling):
    """The tests of a group are run by one process, in their order."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        folder = file.removeprefix("tests/").partition("/")[0]
        return TOGETHER.get(folder, file)
