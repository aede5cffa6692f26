"""From a server into a mirror. Everything here blocks, and runs in the thread of the fetch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import attrs
from dulwich.objects import ObjectID
from dulwich.refs import HEADREF

from taskrunner.connections import Connections
from taskrunner.errors import TaskFailed, Unavailable
from taskrunner.model import Progress
from taskrunner_git import refs
from taskrunner_git.commit_tree import CommitTree
from taskrunner_git.explain import explain
from taskrunner_git.failures import Broken, clone_failed, quoted, unavailable
from taskrunner_git.fetch_context import FetchContext
from taskrunner_git.packs.commit_object import find_commit, find_parents
from taskrunner_git.packs.mirror import Mirror
from taskrunner_git.packs.pack import HEADER, ID, TRAILER
from taskrunner_git.protocol.transport import Transport
from taskrunner_git.refs import Revision
from taskrunner_git.remote import Remote

EMPTY = HEADER + TRAILER
"""Bytes of a pack without objects: what was asked for is here already."""
Report = Callable[[Progress], None]


class MirrorUpdater:
    """Brings commits of one repository into its mirror."""

    def __init__(self, remote: Remote, mirror: Mirror, context: FetchContext) -> None:
        self._remote, self._mirror, self._context = remote, mirror, context
        self._connections, self._say = context.connections, context.say

    def fetch(self, ref: str) -> tuple[str, bytes]:
        """The commit that a ref means, and its root folder, with all their objects in the mirror. The server is not
        asked for the full id of a commit that the mirror has.

        Raises: TaskFailed, Unavailable, Interrupted, Broken (the mirror or the server's pack is damaged), OSError (the
        disk).
        """
        revision = refs.parse(ref)
        self._mirror.combine(self._connections.check)
        if revision.name not in self._mirror.tips:
            return self._update(revision, ref)
        commit = self._step(revision.name, revision.steps)
        if commit is None:
            return self._update(revision, ref)
        self._mirror.refs.add_commit(commit)
        return find_commit(self._mirror.objects, bytes.fromhex(commit))

    def _update(self, revision: Revision, ref: str) -> tuple[str, bytes]:
        with self._mirror.incoming.open("wb") as file:
            spool = _Spool(file, self._connections, self._context.progress)
            try:
                answer = self._download(revision, ref, spool)
            except Unavailable:
                if spool.failure is not None:
                    raise spool.failure from None  # the disk failed, not the network
                raise
        if spool.size > EMPTY:
            self._mirror.add_incoming(spool.pack_id(), self._connections.check)
        else:
            self._mirror.incoming.unlink()
        tip, root = find_commit(self._mirror.objects, bytes.fromhex(answer.sha))
        if spool.size > EMPTY:
            CommitTree(self._mirror.objects, root).check()
            self._connections.check()
            self._mirror.keep_incoming()
        self._remember(tip, answer)
        return self._stepped(tip, revision, ref) if revision.steps else (tip, root)

    def _stepped(self, tip: str, revision: Revision, ref: str) -> tuple[str, bytes]:
        """The commit that is some steps before another one."""
        sha = self._step(tip, revision.steps)
        if sha is None:
            raise clone_failed(f'{self._remote} does not give out the commits before "{quoted(revision.name)}"')
        commit, root = find_commit(self._mirror.objects, bytes.fromhex(sha))
        CommitTree(self._mirror.objects, root).check()
        self._mirror.refs.add_shallow(self._cut(commit))
        self._mirror.refs.add_commit(commit)
        self._say(f"clone: {quoted(ref)} is {len(revision.steps)} before commit {tip}")
        return commit, root

    def _step(self, sha: str, steps: Sequence[int]) -> str | None:
        """The commit that is some steps before another one. None when the mirror lacks a commit on the way. Raises
        TaskFailed when there is none."""
        for number in steps:
            parents = find_parents(self._mirror.objects, bytes.fromhex(sha))
            if not parents:
                raise clone_failed(f"the history ends before: commit {sha} is the first one")
            if number > len(parents):
                raise clone_failed(f"commit {sha} has {len(parents)} parents, and no number {number}")
            if sha in self._mirror.refs.shallow or self._mirror.objects.find(parents[number - 1]) is None:
                return None
            sha = parents[number - 1].hex()
        return sha

    def _remember(self, tip: str, answer: _Answer) -> None:
        """Writes what the mirror has now; the list of shallow commits first, since refs mean complete commits."""
        stored = self._mirror.refs
        stored.add_shallow(answer.shallow | self._cut(tip), answer.unshallow)
        stored.add_commit(tip)
        if answer.name:
            stored.add_name(answer.name, answer.sha)
        stored.set_head(answer.head)

    def _cut(self, commit: str) -> set[str]:
        """The commit, if the mirror lacks a parent of it."""
        parents = find_parents(self._mirror.objects, bytes.fromhex(commit))
        return {commit} if any(self._mirror.objects.find(parent) is None for parent in parents) else set()

    def _download(self, revision: Revision, ref: str, spool: _Spool) -> _Answer:
        names: list[str] = []
        try:
            answer = self._request(revision, ref, spool, names)
        except TaskFailed:
            if not (names and refs.is_commit(revision.name)):
                raise
            self._say(f"clone: {revision.name} is no commit here, and {quoted(names[0])} is taken")
            return self._named(attrs.evolve(revision, name=names[0]), ref, spool)
        if len(names) > 1:
            others = ", ".join(map(quoted, names[1:]))
            self._say(f'clone: warning: "{quoted(ref)}" is ambiguous: {quoted(names[0])} is taken, not {others}')
        elif names and refs.is_commit(revision.name):
            self._say(f"clone: warning: {revision.name} is ambiguous: the commit is taken, not {quoted(names[0])}")
        if answer is not None:
            return answer
        # not a branch or tag: the first digits of a commit, or an error that names refs
        listed = _present(self._converse(lambda transport: transport.refs(), ref).refs)
        full = refs.find_abbreviated(revision.name, listed)
        if full is None:
            raise clone_failed(f"{self._remote} {refs.missing(revision.name, listed)}")
        return self._named(attrs.evolve(revision, name=full), ref, spool)

    def _named(self, revision: Revision, ref: str, spool: _Spool) -> _Answer:
        """The answer for a name that the server has listed."""
        answer = self._request(revision, ref, spool, [])
        if answer is None:
            raise unavailable(f"{self._remote} has changed meanwhile")
        return answer

    def _request(self, revision: Revision, ref: str, spool: _Spool, names: list[str]) -> _Answer | None:
        """Receives a pack with the new objects, if there are any. None when the server does not list the name. `names`
        becomes the refs that it can mean."""
        return self._converse(  # type: ignore[no-any-return]
            lambda transport: self._receive(transport, revision, spool, names), ref
        )

    def _receive(self, transport: Transport, revision: Revision, spool: _Spool, names: list[str]) -> _Answer | None:
        sha: str | None = revision.name if refs.is_commit(revision.name) else None

        def wants(listed: Mapping[Any, Any], depth: int | None = None) -> list[ObjectID]:  # noqa: ARG001  dulwich's
            nonlocal sha
            if any(len(other) != 2 * ID for other in listed.values()):
                raise clone_failed(f"{self._remote} names its objects by SHA-256, which is not supported")
            names[:] = refs.find(revision.name, listed)
            if sha is None and names:
                sha = listed[names[0].encode()].decode()
            return [ObjectID(sha.encode())] if sha and not self._has(sha, revision.steps) else []

        result = transport.fetch(
            determine_wants=wants,
            graph_walker=_Haves(self._mirror.tips, self._mirror.refs.shallow),
            pack_data=spool.write,
            progress=spool.note,
            depth=revision.depth,
            ref_prefix=refs.prefixes(revision.name),
        )
        if sha is None:
            return None
        head = (result.symrefs or {}).get(HEADREF, b"").decode("utf-8", "replace")
        name = "" if refs.is_commit(revision.name) else names[0]
        shallow, unshallow = _texts(result.new_shallow), _texts(result.new_unshallow)
        return _Answer(head if name == "HEAD" else name, sha, head, shallow, unshallow)

    def _has(self, sha: str, steps: Sequence[int]) -> bool:
        """Whether the mirror has this commit, or the one that this tag means, and those some steps before it."""
        if self._mirror.objects.find(bytes.fromhex(sha)) is None:
            return False
        commit = find_commit(self._mirror.objects, bytes.fromhex(sha))[0]
        return commit in self._mirror.tips and self._step(commit, steps) is not None

    def _converse(self, conversation: Callable[[Transport], Any], ref: str) -> Any:
        """One conversation with the server. Raises taskrunner's own errors, without causes."""
        transport = Transport(self._remote, self._context)
        try:
            return conversation(transport)
        except Exception as error:  # noqa: BLE001  a hostile answer can make dulwich raise anything
            failure = error
        finally:
            stderr = transport.close()
        self._connections.check()
        raise failure if isinstance(failure, Broken) else explain(failure, self._remote, ref, stderr)


@attrs.frozen
class _Answer:
    """What a server says about a ref."""

    name: str
    """In full, for instance `refs/heads/main`; empty for a commit's id."""
    sha: str
    head: str
    """The default branch, if the server names it."""
    shallow: set[str]
    """Commits whose parents are not in the pack."""
    unshallow: set[str]
    """Commits of the mirror whose parents are in the pack."""


class _Haves:
    """The commits that the server need not send; dulwich calls this a graph walker."""

    def __init__(self, tips: Sequence[str], shallow: set[str]) -> None:
        self._left = [tip.encode() for tip in tips]
        self.shallow = {sha.encode() for sha in shallow}

    def __next__(self) -> bytes | None:
        return self._left.pop() if self._left else None

    def ack(self, sha: bytes) -> None: ...

    def nak(self) -> None: ...


class _Spool:
    """Writes a pack to disk as it arrives."""

    def __init__(self, file: BinaryIO, connections: Connections, progress: Report) -> None:
        self.size = 0
        self.failure: OSError | None = None
        """The error of the disk."""
        self._file, self._connections, self._progress = file, connections, progress
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._tail = b""
        self._note = ""

    def write(self, data: bytes) -> int:
        self._connections.check()
        try:
            self._file.write(data)
        except OSError as error:
            self.failure = error
            raise
        self.size += len(data)
        self._tail += data
        self._digest.update(self._tail[:-TRAILER])
        self._tail = self._tail[-TRAILER:]
        self._progress(Progress("clone", self.size, note=self._note))
        return len(data)

    def note(self, text: bytes) -> None:
        """Reports the server's own words on its progress."""
        self._connections.check()
        self._note = quoted(text) or self._note
        self._progress(Progress("clone", self.size, note=self._note))

    def pack_id(self) -> bytes:
        """The SHA-1 that the pack ends with. Raises Unavailable when the pack is incomplete."""
        if self._tail != self._digest.digest():
            raise unavailable("the pack did not arrive whole")
        return self._tail


def _present(listed: Mapping[Any, Any]) -> dict[bytes, bytes]:
    return {bytes(name): bytes(sha) for name, sha in listed.items() if sha is not None}


def _texts(shas: set[ObjectID] | None) -> set[str]:
    return {sha.decode() for sha in shas or ()}
