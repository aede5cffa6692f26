"""The two names of a task's log: the live one, and the one that has the file."""

from __future__ import annotations

import posixpath


def backing_name(log: str) -> str:
    """`public/logs/live.log` has its file as `public/logs/live_backing.log`: before the extension, if there is one."""
    stem, extension = posixpath.splitext(log)
    return f"{stem}_backing{extension}"
