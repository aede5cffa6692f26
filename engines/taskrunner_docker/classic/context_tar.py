"""The context as a tar stream, without the files that `.dockerignore` excludes."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator

from taskrunner.errors import local_failure
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.buildkit.request import BuildRequest
from taskrunner_docker.context.selection import ignore_rules, select_entries
from taskrunner_git import FileEntry, FileTree, read_small

_IGNORE = ".dockerignore"
_BLOCK = tarfile.BLOCKSIZE


class BadIgnoreFile(Exception):
    """The author's `.dockerignore` has a pattern that is none, or is too large."""


def context_tar(client: DockerClient, request: BuildRequest) -> Iterator[bytes]:
    """The tar in pieces. Raises: BadIgnoreFile, TaskFailedInternally (the context cannot be read)."""
    tree = request.context
    try:
        for entry in _selected(client, request):
            yield _head(entry)
            if stat.S_ISREG(entry.mode):
                yield from tree.read(entry.path)
                yield bytes(-entry.size % _BLOCK)
    except OSError as error:
        raise local_failure(f"the build context cannot be read: {error}", error) from error
    yield bytes(2 * _BLOCK)


def _selected(client: DockerClient, request: BuildRequest) -> Iterator[FileEntry]:
    tree = request.context
    entries = list(tree.entries())
    try:
        exclude = _patterns(tree, entries, request.dockerfile)
        return select_entries(entries, exclude, rules=ignore_rules(client))
    except ValueError as error:
        raise BadIgnoreFile(f"{_IGNORE}: {error}") from None


def _patterns(tree: FileTree, entries: list[FileEntry], dockerfile: str) -> list[str]:
    """Those of the file. The daemon reads it again, and needs it and the Dockerfile whatever they say."""
    if not any(entry.path == _IGNORE and stat.S_ISREG(entry.mode) for entry in entries):
        return []
    lines = read_small(tree, _IGNORE).decode("utf-8-sig", "surrogateescape").splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [*patterns, f"!{_IGNORE}", f"!{dockerfile}"] if patterns else []


def _head(entry: FileEntry) -> bytes:
    """Owner and group are root's, as with the docker CLI."""
    info = tarfile.TarInfo(entry.path)
    info.mode, info.mtime = stat.S_IMODE(entry.mode), entry.mtime_ns // 10**9
    if stat.S_ISDIR(entry.mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(entry.mode):
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
    else:
        info.size = entry.size
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
