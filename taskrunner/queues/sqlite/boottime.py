"""A clock that all processes of a machine share and that nobody can set: seconds since boot, sleep included.

Leases in a file are counted by it. The time of day will not do, since a step of it would end every lease at once or
keep a dead worker's for hours. A reading means nothing after a reboot, so it is stored beside the id of its boot.
"""

from __future__ import annotations

import subprocess
import time
from functools import cache
from pathlib import Path

from taskrunner.errors import WorkerBroken

CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux counts sleep in CLOCK_BOOTTIME only; macOS has no such clock, and counts it in CLOCK_MONOTONIC."""

LINUX_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MACOS_BOOT_ID = "kern.bootsessionuuid"
"""Both are made at boot and stay. The *time* of boot would not do: macOS moves it when the clock is set."""

SYSCTL_LIMIT = 5.0
"""Seconds; `sysctl` takes a few milliseconds."""


def boottime() -> float:
    """Seconds since this machine was booted."""
    return time.clock_gettime(CLOCK)


@cache
def boot_id() -> str:
    """A text that is another one after each boot.

    Raises: WorkerBroken when the machine does not tell.
    """
    try:
        return LINUX_BOOT_ID.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return _sysctl(MACOS_BOOT_ID)


def _sysctl(name: str) -> str:
    try:
        told = subprocess.run(["sysctl", "-n", name], capture_output=True, check=True, timeout=SYSCTL_LIMIT, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise WorkerBroken(f"this machine does not say when it was booted: `sysctl -n {name}` failed") from error
    return told.stdout.strip()
