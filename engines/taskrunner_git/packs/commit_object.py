"""Git's commit and tag objects: the commit that an id means, the folder at its root, and its parents."""

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
            return sha.hex(), _tree(data)
        if kind != TAG:
            break
        sha = _tagged(data)
    raise clone_failed("the tag or id does not mean a commit")


def find_tree(objects: Objects, commit: bytes) -> bytes:
    """The root folder of a commit. Raises Broken."""
    return _tree(objects.read(commit)[1])


def find_tagged(objects: Objects, sha: bytes) -> list[bytes]:
    """An object, and if it is a tag, the objects that it means one after the other. Empty when one is missing. Raises
    Broken."""
    found = [sha]
    while (place := objects.find(found[-1])) is not None and len(found) <= _MAX_TAGS:
        if place.kind != TAG:
            return found
        found.append(_tagged(objects.read(found[-1])[1]))
    return []


def means(objects: Objects, sha: str, commit: str) -> bool:
    """Whether a tag, or a commit, means this commit, and the tags on the way to it are here. Raises Broken."""
    found = find_tagged(objects, bytes.fromhex(sha))
    return bool(found) and found[-1].hex() == commit


def find_parents(objects: Objects, sha: bytes) -> list[bytes]:
    """The parents that a commit names, in order; they may be missing in the mirror. Raises Broken."""
    _, data = objects.read(sha)
    header = data.split(b"\n\n", 1)[0].split(b"\n")
    return [_id(line, b"parent ") for line in header if line.startswith(b"parent ")]


def _tree(commit: bytes) -> bytes:
    return _id(commit.split(b"\n", 1)[0], b"tree ")


def _tagged(tag: bytes) -> bytes:
    return _id(tag.split(b"\n", 1)[0], b"object ")


def _id(line: bytes, word: bytes) -> bytes:
    try:
        sha = bytes.fromhex(line.removeprefix(word).decode())
    except ValueError:
        sha = b""
    if not line.startswith(word) or len(sha) != ID:
        raise Broken("a commit or tag is damaged")
    return sha
