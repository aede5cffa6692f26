"""The name that an operator gave a worker: held by one living worker of a home at a time.

The lock is on `<home>/workers/<name>.name`, and the kernel releases it when the process ends, however it ends: after a
`kill -9` the next worker gets the name at once. Its unique id is another one, so that crash recovery finds the
resources of the dead worker under the old id. The file stays.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskrunner.errors import ConfigError
from taskrunner.files.file_lock import open_lock_file, try_lock
from taskrunner.state.worker_lock import dead_workers


@contextmanager
def holding_name(home: Path, name: str) -> Iterator[None]:
    """Holds a name for as long as the block lasts; an empty one is held by nobody. Programs that this process starts do
    not inherit it.

    Raises: ConfigError when a living worker has it, OSError.
    """
    if not name:
        yield
        return
    path = _path(home, name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = open_lock_file(path)
    try:
        if not try_lock(file):
            raise ConfigError(f"a worker named {name} runs on {home} (give each a worker_id of its own)")
        yield
    finally:
        os.close(file)


def name_is_held(home: Path, name: str) -> bool:
    """Whether a living worker of this home has the name. Takes no lock that could be in the way of a worker's start."""
    living = {path.stem for path in (home / "workers").glob("*.lock")} - set(dead_workers(home))
    return any(re.fullmatch(unique_pattern(name), worker_id) for worker_id in living)


def unique_id(name: str) -> str:
    """A worker's id that begins with a name, unique among all workers, past ones included."""
    return f"{name}-{secrets.token_hex(4)}"


def unique_pattern(name: str) -> str:
    """What `unique_id` returns for a name."""
    return rf"{re.escape(name)}-[0-9a-f]{{8}}"


def _path(home: Path, name: str) -> Path:
    return home / "workers" / f"{name}.name"
