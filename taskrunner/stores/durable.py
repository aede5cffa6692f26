"""Files that survive a power cut."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

FEW = 8
"""Files that are synced one by one, which takes some 5 ms each. More are synced with all else that the disk has to
write, in one call."""


def sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_all(files: Sequence[Path], *folders: Path) -> None:
    """Waits until these files, and their names in these folders of the same disk, are on it. Raises OSError."""
    if len(files) > FEW and (syncfs := _find_syncfs()):
        _sync_disk(folders[0], syncfs)
        return
    for path in (*files, *folders):
        sync(path)


def _find_syncfs() -> Callable[[int], int] | None:
    """Linux has it, and reports the errors of earlier writes since 5.8."""
    return cast("Callable[[int], int] | None", getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None))


def _sync_disk(folder: Path, syncfs: Callable[[int], int]) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if syncfs(file):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(file)
