"""A wall clock that a test sets, for programs that it starts: by Debian's libfaketime, never the machine's own clock.

Only the time of day moves. What counts seconds goes on, as in a machine whose clock is set: CLOCK_MONOTONIC,
CLOCK_BOOTTIME, and the times of files, which the kernel gives them.
"""

from __future__ import annotations

from pathlib import Path

import attrs

DAY = 86400


@attrs.frozen
class FalseClock:
    """The time of day is true until `set`."""

    file: Path

    def __attrs_post_init__(self) -> None:
        self.set(0)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a program with this clock. Raises StopIteration where libfaketime is not installed."""
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, seconds: int) -> None:
        """Sets it so far before or after the true time, at once and in every program that has it."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self.file)
