"""From an id to the commit that it means, and the folder at its root."""

from __future__ import annotations

from taskrunner_git.failures import Broken, clone_failed
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.pack import COMMIT, ID, TAG

_MAX_TAGS = 8
"""Tags of tags."""


def find_commit(objects: Objects, sha: bytes) -> tuple[str, bytes]:
    """The commit that an id means, through tags, and its root folder. Raises TaskFailed when it means none;
    Broken."""
    for _ in range(_MAX_TAGS):
        kind, data = objects.read(sha)
        if kind == COMMIT:
            return sha.hex(), _header(data, b"tree ")
        if kind != TAG:
            break
        sha = _header(data, b"object ")
    raise clone_failed("the tag or id does not mean a commit")


def _header(data: bytes, word: bytes) -> bytes:
    line = data.split(b"\n", 1)[0]
    try:
        sha = bytes.fromhex(line.removeprefix(word).decode())
    except ValueError:
        sha = b""
    if not line.startswith(word) or len(sha) != ID:
        raise Broken("a commit or tag is damaged")
    return sha
