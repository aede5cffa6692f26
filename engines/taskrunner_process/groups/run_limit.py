"""RunLimit: what all commands of one run together may use. The kernel keeps them to it, by control groups."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from taskrunner.byte_counts import bytes_text


class RunLimit:
    """No limit. A subclass has one. Its methods block for well under a millisecond, `make` excepted."""

    around: Path | None = None
    """The control group in which those of the commands lie, if it is not that of the worker."""

    def make(self) -> None:
        """Makes what the limit needs, before the first command. Raises OSError."""

    def entered(self) -> AbstractContextManager[None]:
        """For a thread that is about to start a command: what it starts meanwhile is limited. Raises OSError."""
        return nullcontext()

    def out_of_memory(self) -> str:
        """What happened, when the kernel has killed a process of the run for memory; else empty. Before `close`."""
        return ""

    def close(self) -> None:
        """Removes what was made, when every command has ended. May be called again."""


def memory_story(limit: int, peak: int) -> str:
    """The words for a run that has reached its limit of memory."""
    return (
        f"the run ran out of memory, and the kernel killed a process of it: its peak was {bytes_text(peak)} ({peak} "
        f"bytes), its limit is {bytes_text(limit)} ({limit} bytes); ask for more in `resources.memory`"
    )


def number_in(file: Path, key: str = "") -> int:
    """A number in a file of a control group: the only one, or that of a line which begins with the key. 0 without."""
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            name, _, number = line.rpartition(" ")
            if name == key:
                return int(number)
    return 0
