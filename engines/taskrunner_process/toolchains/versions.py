"""Which version a checkout asks for, and which ones the machine has."""

from __future__ import annotations

import os
import re
import stat
from glob import glob
from pathlib import Path

from taskrunner.errors import TaskFailed

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
"""It becomes an argument of a command and a part of a file's name. All version managers of the field write this form.
"""

MAX_FILE = 4096
"""Bytes of a version file that are read."""


def wanted_version(folder: Path, name: str) -> str:
    """The first line of a file of a checkout that is no comment; empty when there is no such file. What is in a
    checkout may be hostile: a link or a pipe counts as no version.

    Raises: TaskFailed (`toolchain-unknown`).
    """
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError:
        raise _unknown(name) from None
    try:
        text = os.read(descriptor, MAX_FILE) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
    lines = (line.strip() for line in text.decode(errors="replace").splitlines())
    version = next((line for line in lines if line and not line.startswith("#")), "")
    if not VERSION.fullmatch(version):
        raise _unknown(name)
    return version


def _unknown(name: str) -> TaskFailed:
    return TaskFailed("toolchain-unknown", f"{name} of the source names no version: write one, as in 15.2")


def installed_at(pattern: str) -> list[str]:
    """The versions in the paths that match a pattern, by its `*`. Blocks."""
    before, after = pattern.split("*")
    return sorted(path[len(before) : len(path) - len(after)] for path in glob(pattern))  # noqa: PTH207  the text counts
