"""A copy of content that its reader cannot write to."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from taskrunner.files.untrusted import Walked, walk

_FOLDER = 0o555


def copy_sealed(content: Path, target: Path, check: Callable[[], None]) -> None:
    """Copies a file or a folder whose files have no write bits, with modes, times and links, to a path where nothing
    is. Nobody else writes to either meanwhile. A file with several names stays one, so that the copy is not larger.
    `check` is called before each file, and may raise.

    Raises: OSError.
    """
    if not content.is_dir():
        shutil.copy2(content, target)
        return
    target.mkdir()
    found = sorted(walk(content), key=lambda each: each.name)  # a folder comes before what is in it
    first: dict[tuple[int, int], str] = {}
    for each in found:
        check()
        _copy(each, content, target, first)
    for each in reversed(found):
        if each.is_folder:
            (target / each.name).chmod(_FOLDER)
    target.chmod(_FOLDER)


def _copy(each: Walked, content: Path, target: Path, first: dict[tuple[int, int], str]) -> None:
    source, to, status = content / each.name, target / each.name, each.status
    if each.is_folder:
        to.mkdir()
    elif stat.S_ISLNK(status.st_mode):
        to.symlink_to(source.readlink())
    elif status.st_nlink > 1 and (other := first.setdefault((status.st_dev, status.st_ino), each.name)) != each.name:
        os.link(target / other, to)
    else:
        shutil.copy2(source, to)
