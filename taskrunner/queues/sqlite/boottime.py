"""A clock that all processes of a machine share and that cannot be set: seconds since boot, sleep included.

Leases in a file are counted by it. A step of the time of day would end every lease at once, or keep a dead worker's
lease for hours. A reading is meaningless after a reboot, so that it is stored beside the id of its boot.
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
"""Both are made at boot and never change. The *time* of boot does: macOS moves it when the clock is set."""

SYSCTL_LIMIT = 5.0
"""Seconds; `sysctl` takes a few milliseconds."""


def boottime() -> float:
    """Seconds since this machine was booted."""
    return time.clock_gettime(CLOCK)


@cache
def boot_id() -> str:
    """A text that differs after each boot.

    Raises: WorkerBroken when the machine has none.
    """
    try:
        return LINUX_BOOT_ID.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return _sysctl(MACOS_BOOT_ID)


def _sysctl(name: str) -> str:
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, check=True, timeout=SYSCTL_LIMIT, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise WorkerBroken(f"this machine does not say when it was booted: `sysctl -n {name}` failed") from error
    return done.stdout.strip()
