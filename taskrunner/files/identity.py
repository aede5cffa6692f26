"""Whether a path still names the file or folder that it named before."""

from __future__ import annotations

from pathlib import Path


def identity(path: Path) -> tuple[int, int] | None:
    """The device and the inode of what is at a path; None when nothing is there that can be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
