"""The control groups of the machine, by name. Others come and go meanwhile, which `Path.rglob` does not survive."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path


def control_groups(pattern: str) -> list[Path]:
    """Those with a name of this pattern, in all hierarchies."""
    found = []
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        found += [Path(folder, name) for name in names if fnmatchcase(name, pattern)]
    return found
