"""The faults of this machine that runs have met: a disk that is full, over its quota, read-only or broken.

The numbers that a disk gives of itself do not show most of these. So after a fault the worker takes no more work until
its disks have taken `PROBE` bytes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.errors import MachineFault
from taskrunner.model import Health

PROBE = 1 << 20
"""Bytes: more than a run needs to begin, so that the next one does not end at once, and no burden for a disk."""

PROBE_FILES = 16
"""These bytes are in so many files: a disk may have room for bytes, and none for files."""

PROBE_LIMIT = 60.0
"""Seconds. Beyond it, the disk hangs."""


class MachineFaults:
    """Those of one worker. Used from the event loop."""

    def __init__(self, home: Path) -> None:
        self.on_fault: Callable[[str], None] = lambda _: None
        """Called with each fault. The worker sets it."""
        self._home = str(home)
        self._suspects: set[str] = set()
        """Folders whose disks have taken nothing since their last fault."""

    def note(self, fault: MachineFault) -> None:
        """A run has met it."""
        self._suspects |= {self._home, fault.folder or self._home}
        self.on_fault(fault.message)

    async def check(self) -> Health:
        """Writes some files in each folder of a fault, which are gone at once. Without a fault, nothing happens."""
        for folder in sorted(self._suspects):
            try:
                await run_blocking(lambda: _probe(Path(folder)), limit=PROBE_LIMIT, doing="it")  # noqa: B023  awaited
            except OverLimit:
                return Health(fit=False, why=f"the disk of {folder} does not answer")
            except OSError as error:
                return Health(fit=False, why=f"{folder} does not take {PROBE:,} bytes: {error.strerror}")
            self._suspects.discard(folder)
        return Health(fit=True)


def _probe(folder: Path) -> None:
    """Raises OSError. The files have no names, so that a worker that is killed leaves none."""
    with ExitStack() as files:
        for _ in range(PROBE_FILES):
            file = files.enter_context(tempfile.TemporaryFile(dir=folder))
            file.write(bytes(PROBE // PROBE_FILES))
            file.flush()
            os.fsync(file.fileno())
