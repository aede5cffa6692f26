"""Writes the members of an archive into a folder, so that nothing can land outside of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import attrs

from taskrunner.files.archives.bounds import Usage
from taskrunner.files.archives.member import Kind, Member, check_text, parts_of
from taskrunner.files.archives.refusal import member_refused
from taskrunner.files.archives.tree import Node, Tree

IMPLICIT_MODE = 0o755
"""Of a folder that the archive uses and does not have."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o777
"""What is kept of a mode: no setuid, setgid or sticky bit."""
_READABLE_FILE, _READABLE_FOLDER = 0o400, 0o500
"""What is added: an engine reads all files, and not every one is root."""


@attrs.frozen
class _Late:
    """What is done at the end: a symbolic link is made, or a folder gets its mode and time."""

    member: Member
    parts: tuple[str, ...]
    node: Node


class Writer:
    """One unpacking into an empty folder that nothing else writes to.

    Symbolic links are made last, when all is known that they could lead to. Until then the folder has none, so that no
    member can be written through one. Folders are open to the worker until then, and get their own mode after that.
    """

    def __init__(self, folder: Path, usage: Usage, strip: int, owner: tuple[int, int] | None = None) -> None:
        """`owner` (a user and a group) gets everything; None for the worker's user."""
        self._account, self._strip, self._owner = usage, strip, owner
        self._tree = Tree()
        self._links: list[_Late] = []
        self._folders: dict[tuple[str, ...], Member | None] = {}
        """Folders below the top in the order in which they were made; None when the archive has not named one."""
        self._top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: tuple[tuple[str, ...], int] = (), os.dup(self._top)
        """The folder that was written to last, by its path: most members are in the folder of the one before."""

    def close(self) -> None:
        os.close(self._open[1])
        os.close(self._top)

    def add(self, member: Member) -> int:
        """Writes one member, and returns the bytes of a file. Raises: TaskFailed, OSError, Interrupted."""
        path = parts_of(member.name, member.name)
        parts = path[self._strip :]
        if not parts:
            if member.kind is not Kind.FOLDER:
                what = f"has no more than the {self._strip} parts that are stripped" if path else "has an empty name"
                raise member_refused(member.name, what)
            return 0
        parent = self._make_parents(parts, member.name)
        known = parent.children.get(parts[-1])
        if known and not known.kind is member.kind is Kind.FOLDER:
            raise member_refused(member.name, f"is in the archive twice, first as a {known.kind.value}")
        match member.kind:
            case Kind.FILE:
                return self._add_file(member, parts, parent)
            case Kind.FOLDER:
                if not known:
                    self._make_folder(parts, parent, member.name)
                self._folders[parts] = member
            case Kind.SYMBOLIC_LINK:
                self._add_link(member, parts, parent, member.target)
            case Kind.HARD_LINK:
                self._add_hard_link(member, parts, parent)
        return 0

    def finish(self) -> None:
        """Makes the symbolic links, and gives folders their modes. Raises: TaskFailed, OSError, Interrupted."""
        for link in self._links:
            self._tree.leads_nowhere_else(link.node, link.member.name, self._account)
        for link in self._links:
            self._account.connections.check()
            self._make_link(link)
        for parts, member in reversed(self._folders.items()):  # what is in a folder comes before the folder
            self._account.connections.check()
            self._finish_folder(parts, member)

    def _make_parents(self, parts: tuple[str, ...], name: str) -> Node:
        """The folder of a member, which is made when the archive has not named it before."""
        node = self._tree.root
        for count in range(1, len(parts)):
            inner = node.children.get(parts[count - 1])
            if inner is None:
                self._account.add_member()
                inner = self._make_folder(parts[:count], node, name)
            if inner.kind is not Kind.FOLDER:
                raise member_refused(name, f"is in a folder that the archive has as a {inner.kind.value}")
            node = inner
        return node

    def _make_folder(self, parts: tuple[str, ...], parent: Node, name: str) -> Node:
        with _no_twin(name):
            os.mkdir(parts[-1], 0o700, dir_fd=self._enter(parts[:-1]))
        self._folders[parts] = None
        return _added(parent, parts[-1], Kind.FOLDER)

    def _add_file(self, member: Member, parts: tuple[str, ...], parent: Node) -> int:
        place = self._enter(parts[:-1])
        with _no_twin(member.name):
            file = os.open(parts[-1], _NEW_FILE, 0o600, dir_fd=place)
        size = 0
        try:
            for piece in member.content:
                _write(file, piece)
                size += len(piece)
            if self._owner:
                os.fchown(file, *self._owner)
            os.fchmod(file, member.mode & _MODE | _READABLE_FILE)
            os.utime(file, ns=(member.modified, member.modified))
        finally:
            os.close(file)
        _added(parent, parts[-1], Kind.FILE)
        return size

    def _add_link(self, member: Member, parts: tuple[str, ...], parent: Node, target: str) -> None:
        check_text(target, member.name, "links to a path that ")
        if target.startswith("/"):
            raise member_refused(member.name, "links to an absolute path")
        if not target:
            raise member_refused(member.name, "links to nothing")
        node = _added(parent, parts[-1], Kind.SYMBOLIC_LINK)
        node.target = target
        self._links.append(_Late(member, parts, node))

    def _add_hard_link(self, member: Member, parts: tuple[str, ...], parent: Node) -> None:
        target = parts_of(member.target, member.name, "links to a path that ")[self._strip :]
        found = self._tree.find(target) if target else None
        if found is None:
            raise member_refused(member.name, "is a hard link to something that the archive does not have before it")
        match found.kind:
            case Kind.FOLDER:
                raise member_refused(member.name, "is a hard link to a folder")
            case Kind.SYMBOLIC_LINK:
                self._add_link(member, parts, parent, found.target)
            case _:
                self._make_hard_link(member, target, parts)
                _added(parent, parts[-1], Kind.FILE)

    def _make_hard_link(self, member: Member, target: tuple[str, ...], parts: tuple[str, ...]) -> None:
        source = os.dup(self._enter(target[:-1]))
        try:
            place = self._enter(parts[:-1])
            with _no_twin(member.name):
                os.link(target[-1], parts[-1], src_dir_fd=source, dst_dir_fd=place, follow_symlinks=False)
        finally:
            os.close(source)

    def _make_link(self, link: _Late) -> None:
        place, name = self._enter(link.parts[:-1]), link.parts[-1]
        with _no_twin(link.member.name):
            os.symlink(link.node.target, name, dir_fd=place)
        if self._owner:
            os.chown(name, *self._owner, dir_fd=place, follow_symlinks=False)
        times = link.member.modified, link.member.modified
        os.utime(name, ns=times, dir_fd=place, follow_symlinks=False)

    def _finish_folder(self, parts: tuple[str, ...], member: Member | None) -> None:
        folder = self._enter(parts)
        if self._owner:
            os.fchown(folder, *self._owner)
        os.fchmod(folder, member.mode & _MODE | _READABLE_FOLDER if member else IMPLICIT_MODE)
        if member:
            os.utime(folder, ns=(member.modified, member.modified))

    def _enter(self, parts: tuple[str, ...]) -> int:
        """The descriptor of a folder that was made here. It is closed by the next call for another one."""
        if parts != self._open[0]:
            place = os.dup(self._top)
            for part in parts:
                try:
                    inner = os.open(part, _FOLDER, dir_fd=place)
                finally:
                    os.close(place)
                place = inner
            os.close(self._open[1])
            self._open = parts, place
        return self._open[1]


def _added(parent: Node, name: str, kind: Kind) -> Node:
    node = parent.children[name] = Node(kind, parent)
    return node


@contextlib.contextmanager
def _no_twin(name: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise member_refused(
            name, "differs from another member in its case or accents only, which this disk cannot tell apart"
        ) from None


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
