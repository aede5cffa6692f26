"""Files on this machine: a task may name those that the worker's configuration allows."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from typing import BinaryIO

from taskrunner.errors import TaskFailed
from taskrunner.files.archives.refusal import shown

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""A named pipe is opened without waiting for its writer, and then refused."""


def open_allowed(path: str, allowed: Sequence[str], setting: str, refused: Callable[[str], TaskFailed]) -> BinaryIO:
    """Opens a file by its full path. Of both, the path and the allowed ones, the real path without links counts.
    `setting` is the key of the configuration that allows them; `refused` makes the error of a text.

    From the allowed folder on, each part is opened by itself and no link is followed, so that nobody can exchange what
    was checked. A path that is not allowed gets the same error whether it exists or not. Blocks.

    Raises: what `refused` returns.
    """
    try:
        real, roots = os.path.realpath(path), list(map(os.path.realpath, allowed))
    except OSError:  # a link has become something else in this moment
        raise refused(f"{shown(path)} is not there") from None
    for root in roots:
        if real == root or real.startswith(root.rstrip("/") + "/"):
            problem, file = _open(root, os.path.relpath(real, root).split("/"))
            if file is None:
                raise refused(f"{shown(path)} {problem}")
            return file
    raise refused(f"{shown(path)} is not among the paths that this worker allows ({setting} in its configuration)")


def _open(root: str, parts: list[str]) -> tuple[str, BinaryIO | None]:
    """The open file, or what is wrong with it."""
    try:
        descriptor = os.open(root, _FILE)
        for number, part in enumerate(parts if parts != ["."] else (), 1):
            above = descriptor
            try:
                descriptor = os.open(part, _FILE if number == len(parts) else _FOLDER, dir_fd=above)
            finally:
                os.close(above)
    except OSError as error:
        gone = error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
        return "is not there" if gone else f"cannot be read: {error.strerror}", None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return "is no file", None
    return "", os.fdopen(descriptor, "rb", buffering=0)
