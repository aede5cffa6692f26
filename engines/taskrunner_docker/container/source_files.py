"""The files of the task's source, copied from a folder of this machine into a container that has not started."""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from taskrunner.interfaces.log import Log
from taskrunner.interfaces.results import READ_SIZE
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.container.archive import ContainerFiles

Owner = tuple[int, int]
"""User and group, in the container."""

COPY_LIMIT = 1800.0
"""Seconds to copy the files of a repository: a million small ones on a slow disk."""
_ROOT = (0, 0)
_MAX_LIST = 16 << 20
"""Bytes of a list of users that are read: those of an image may be of any size."""
_MAX_DIGITS = 10
"""Of an id. Docker refuses to start anything as a user above 2**31, and a tar header takes no number of any length."""
_NAME, _ID, _GROUP = 0, 2, 3
"""Fields in `/etc/passwd`; the first and the third also in `/etc/group`."""


async def copy_source(
    client: DockerClient, container: str, folder: Path, target: str, *, owner: Owner, hidden: Collection[str]
) -> None:
    """Copies what is in `folder` to the path `target`, which exists in the container. `hidden` are paths there that
    have a mount, which would get the files instead of the container.

    Raises: DockerError, Unavailable, OSError.
    """
    archive = _archive(folder, target, owner, hidden)
    await client.call_within(COPY_LIMIT, partial(client.api.put_archive, container, target, archive))
    if owner != _ROOT:
        parent, name = posixpath.split(target)
        await client.call(client.api.put_archive, container, parent, _top(folder, name, owner))


async def owner_of(client: DockerClient, container: str, user: str, log: Log) -> Owner:
    """The ids of an image's `User`, `name` or `name:group`, by the files of the container. Root where it has none.

    Raises: TaskFailedInternally.
    """
    name, _, group = user.partition(":")
    if not name:
        return _ROOT
    files = ContainerFiles(client, container, "/", log)
    found = await _find(files, "/etc/passwd", name)
    uid = _number(found[_ID] if found else name)
    gid = _number(found[_GROUP]) if found else 0
    if group:
        of_group = await _find(files, "/etc/group", group)
        gid = _number(of_group[_ID] if of_group else group)
    return uid, gid


async def _find(files: ContainerFiles, path: str, word: str) -> list[str] | None:
    """The fields of the line that has this name or number."""
    try:
        entry = await files.file(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    if (entry.size or 0) > _MAX_LIST:
        return None
    text = b"".join([piece async for piece in entry.read()]).decode("utf-8", "replace")
    lines = [line.split(":") for line in text.splitlines()]
    lines = [line for line in lines if len(line) > _GROUP and line[_ID].isdecimal() and _is_id(path, line)]
    by_name = (line for line in lines if line[_NAME] == word)
    return next(by_name, None) or next((line for line in lines if line[_ID] == word), None)


def _is_id(path: str, line: list[str]) -> bool:
    return path != "/etc/passwd" or line[_GROUP].isdecimal()


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else 0


def _archive(folder: Path, target: str, owner: Owner, hidden: Collection[str]) -> Iterator[bytes]:
    """A tar stream of all files, with their times."""
    for name, path in _walk(folder, ""):
        place = posixpath.join(target, name)
        if any(posixpath.commonpath([place, mount]) == mount for mount in hidden):
            continue
        status = path.lstat()
        member = _member(name, status, owner)
        if stat.S_ISLNK(status.st_mode):
            member.type, member.linkname = tarfile.SYMTYPE, os.fspath(path.readlink())
        yield member.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")
        if member.isreg():
            yield from _contents(path)
            yield bytes(-member.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _top(folder: Path, name: str, owner: Owner) -> bytes:
    """A tar archive of the folder alone, which gives it to the owner."""
    return _member(name, folder.stat(), owner).tobuf(tarfile.GNU_FORMAT) + bytes(2 * tarfile.BLOCKSIZE)


def _walk(folder: Path, above: str) -> Iterator[tuple[str, Path]]:
    """Everything below a folder, a folder before its content."""
    for path in sorted(folder.iterdir()):
        name = f"{above}{path.name}"
        yield name, path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, f"{name}/")


def _member(name: str, status: os.stat_result, owner: Owner) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
    member.uid, member.gid = owner
    if stat.S_ISDIR(status.st_mode):
        member.type = tarfile.DIRTYPE
    elif stat.S_ISREG(status.st_mode):
        member.size = status.st_size
    return member


def _contents(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(READ_SIZE):
            yield piece
