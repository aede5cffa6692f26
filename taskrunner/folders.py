"""Removing a folder that a task has had its way with."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any


def remove_folder(path: Path) -> list[str]:
    """Removes a folder and all that is in it; links are removed, not followed. A mode that forbids it (`chmod 0` by the
    task) is changed and tried again. Blocking. Returns a line for each thing that stayed, at most one for each folder.
    """
    left: list[str] = []

    def again(remove: Any, name: str, error: BaseException) -> None:
        try:
            os.chmod(Path(name).parent, stat.S_IRWXU)  # noqa: PTH101  rmtree speaks in names
            if not Path(name).is_symlink():
                os.chmod(name, stat.S_IRWXU)  # noqa: PTH101
            _remove(remove, name)
        except FileNotFoundError:
            pass
        except OSError:
            left.append(f"{name} could not be removed: {error}")

    if path.is_symlink() or path.exists():
        shutil.rmtree(path, onerror=lambda remove, name, info: again(remove, name, info[1]))
    return left


def _remove(remove: Any, name: str) -> None:
    """What rmtree was about to do; a folder that could not be looked into is begun again."""
    if remove in {os.unlink, os.rmdir}:
        remove(name)
    else:
        shutil.rmtree(name)
