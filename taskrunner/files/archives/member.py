"""Member: one entry of an archive as its author wrote it, and the rules for its path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

import attrs

from taskrunner.files.archives.refusal import member_refused

LONGEST_PART = 255
"""Bytes of one name: NAME_MAX of the usual file systems."""
LONGEST_PATH = 4095
"""Bytes of a path or of a link's target: PATH_MAX of Linux without its zero byte."""
DEEPEST = 128
"""Parts of a path. Nested `node_modules` reach 60; each part costs a call of the system for each folder."""
_LATEST = 1 << 34
"""Seconds: the last time that ext4 can store is in the year 2446."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SECOND = 1_000_000_000
"""Nanoseconds."""


class Kind(Enum):
    """What a member becomes on the disk."""

    FILE = "file"
    FOLDER = "folder"
    SYMBOLIC_LINK = "symbolic link"
    HARD_LINK = "hard link"


@attrs.frozen
class Member:
    """One entry. Bytes that are not UTF-8 are surrogates in its texts."""

    name: str
    kind: Kind
    mode: int = 0o644
    modified: int = 0
    """Nanoseconds since 1970, UTC."""
    target: str = ""
    """Where a link leads: for a symbolic one relative to its folder, for a hard one relative to the archive's top."""
    content: Iterator[bytes] = attrs.field(factory=lambda: iter(()), eq=False, repr=False)
    """The bytes of a file. Read before the next member is asked for."""

    def __attrs_post_init__(self) -> None:
        if abs(self.modified) > _LATEST * SECOND:
            raise member_refused(self.name, "has an impossible modification time")


def parts_of(name: str, member: str, what: str = "") -> tuple[str, ...]:
    """A path as its parts, relative to the archive's top; empty for the top itself.

    `member` names the member in errors, and `what` the path when it is not the member's own: `links to a path that`.
    Raises: TaskFailed.
    """
    if name.startswith("/"):
        raise member_refused(member, f"{what}is an absolute path")
    check_text(name, member, what or "has a name that ")
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if ".." in parts:
        raise member_refused(member, f'{what}has a part ".."')
    if len(parts) > DEEPEST:
        raise member_refused(member, f"{what}has more than {DEEPEST} parts")
    if any(len(part.encode()) > LONGEST_PART for part in parts):
        raise member_refused(member, f"{what}has a part of more than {LONGEST_PART} bytes")
    return parts


def check_text(text: str, member: str, what: str) -> None:
    """A path must be readable for people and not longer than the system takes. Raises: TaskFailed."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise member_refused(member, f"{what}is not UTF-8") from None
    if size > LONGEST_PATH:
        raise member_refused(member, f"{what}is longer than {LONGEST_PATH} bytes")
    if _CONTROL.search(text):
        raise member_refused(member, f"{what}has a control character")
