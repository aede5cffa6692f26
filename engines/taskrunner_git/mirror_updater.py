"""From a server into a mirror. Everything here blocks, and runs in the thread of the fetch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from dulwich.objects import ObjectID
from dulwich.refs import HEADREF

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner_git import refs
from taskrunner_git.explain import explain
from taskrunner_git.failures import Broken, clone_failed, quoted, unavailable
from taskrunner_git.fetch_context import FetchContext
from taskrunner_git.pack_spool import PackSpool
from taskrunner_git.packs.commit_object import find_commit, find_parents, means
from taskrunner_git.packs.mirror import Mirror
from taskrunner_git.packs.pack import HEADER, ID, TRAILER
from taskrunner_git.protocol.transport import Transport
from taskrunner_git.refs import Revision
from taskrunner_git.remote import Remote
from taskrunner_git.trees.commit_tree import CommitTree

EMPTY = HEADER + TRAILER
"""Bytes of a pack without objects: what was asked for is here already."""
_SHA256 = 64
"""Digits of such an id."""


@attrs.frozen
class FoundCommit:
    """A commit whose objects are all in the mirror."""

    sha: str
    root: bytes
    """Its folder."""
    tags: Mapping[str, str]
    """Those that mean it, by their full names, and their objects."""


class MirrorUpdater:
    """Brings commits of one repository into its mirror."""

    def __init__(self, remote: Remote, mirror: Mirror, context: FetchContext) -> None:
        self._remote, self._mirror, self._context = remote, mirror, context
        self._connections, self._say = context.connections, context.say

    def fetch(self, ref: str) -> FoundCommit:
        """The commit that a ref means, with all its objects in the mirror. The server is not asked for the full id of a
        commit that the mirror has: its tags are then those that were seen before.

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
        return self._found(commit)

    def _found(self, commit: str) -> FoundCommit:
        sha, root = find_commit(self._mirror.objects, bytes.fromhex(commit))
        tags = {name: tag for name, tag in self._mirror.refs.tags().items() if self._means(tag, sha)}
        return FoundCommit(sha, root, tags)

    def _means(self, tag: str, commit: str) -> bool:
        return means(self._mirror.objects, tag, commit)

    def _update(self, revision: Revision, ref: str) -> FoundCommit:
        with self._mirror.incoming.open("wb") as file:
            spool = PackSpool(file, self._mirror.objects, self._connections, self._context.progress)
            try:
                answer = self._download(revision, ref, spool)
            except Unavailable:
                if spool.failure is not None:
                    raise spool.failure from None  # the disk failed, not the network
                raise
            pack_id = spool.finish() if spool.size else b""
        if spool.size > EMPTY:
            self._mirror.add_incoming(spool.scan, pack_id, spool.spend)
        else:
            self._mirror.incoming.unlink()
        tip, root = find_commit(self._mirror.objects, bytes.fromhex(answer.sha))
        if spool.size > EMPTY:
            CommitTree(self._mirror.objects, root).check(self._newest_root())
            self._connections.check()
            self._mirror.keep_incoming()
        self._remember(tip, answer)
        return self._found(self._stepped(tip, revision, ref) if revision.steps else tip)

    def _newest_root(self) -> bytes | None:
        """The root folder of the last commit whose objects were all here before; None for an empty mirror."""
        tips = self._mirror.tips
        return find_commit(self._mirror.objects, bytes.fromhex(tips[-1]))[1] if tips else None

    def _stepped(self, tip: str, revision: Revision, ref: str) -> str:
        """The commit that is some steps before another one."""
        sha = self._step(tip, revision.steps)
        if sha is None:
            raise clone_failed(f'{self._remote} does not give out the commits before "{quoted(revision.name)}"')
        commit, root = find_commit(self._mirror.objects, bytes.fromhex(sha))
        CommitTree(self._mirror.objects, root).check()
        self._mirror.refs.add_shallow(self._cut(commit))
        self._mirror.refs.add_commit(commit)
        self._say(f"clone: {quoted(ref)} is {len(revision.steps)} before commit {tip}")
        return commit

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
        stored.keep_tags(tip, {name: sha for name, sha in answer.tags.items() if self._means(sha, tip)}, self._means)
        stored.set_head(answer.head)

    def _cut(self, commit: str) -> set[str]:
        """The commit, if the mirror lacks a parent of it."""
        parents = find_parents(self._mirror.objects, bytes.fromhex(commit))
        return {commit} if any(self._mirror.objects.find(parent) is None for parent in parents) else set()

    def _download(self, revision: Revision, ref: str, spool: PackSpool) -> _Answer:
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

    def _named(self, revision: Revision, ref: str, spool: PackSpool) -> _Answer:
        """The answer for a name that the server has listed."""
        answer = self._request(revision, ref, spool, [])
        if answer is None:
            raise unavailable(f"{self._remote} has changed meanwhile")
        return answer

    def _request(self, revision: Revision, ref: str, spool: PackSpool, names: list[str]) -> _Answer | None:
        """Receives a pack with the new objects, if there are any. None when the server does not list the name. `names`
        becomes the refs that it can mean."""
        return self._converse(  # type: ignore[no-any-return]
            lambda transport: self._receive(transport, revision, spool, names), ref
        )

    def _receive(self, transport: Transport, revision: Revision, spool: PackSpool, names: list[str]) -> _Answer | None:
        sha: str | None = revision.name if refs.is_commit(revision.name) else None
        tags: dict[str, str] = {}

        def wants(listed: Mapping[Any, Any], depth: int | None = None) -> list[ObjectID]:  # noqa: ARG001  dulwich's
            nonlocal sha, tags
            if strange := [other for other in listed.values() if len(other) != 2 * ID]:
                raise self._no_id(strange[0])
            names[:] = refs.find(revision.name, listed)
            if sha is None and names:
                sha = listed[names[0].encode()].decode()
            if sha is None:
                return []
            tags = refs.tags_of(transport.peeled.get(names[0], sha) if names else sha, listed, transport.peeled)
            wanted = [] if self._has(sha, revision.steps) else [sha]
            wanted += [tag for tag in tags.values() if tag != sha and self._lacks(tag)]
            return [ObjectID(each.encode()) for each in wanted]

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
        return _Answer(head if name == "HEAD" else name, sha, head, shallow, unshallow, tags)

    def _lacks(self, tag: str) -> bool:
        return self._mirror.objects.find(bytes.fromhex(tag)) is None

    def _no_id(self, text: bytes) -> TaskFailed:
        if len(text) == _SHA256:
            return clone_failed(f"{self._remote} names its objects by SHA-256, which is not supported")
        return clone_failed(f"{self._remote} lists a ref with the id {quoted(text)!r}, which is none")

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
    tags: Mapping[str, str]
    """The tags of the commit, and their objects."""


class _Haves:
    """The commits that the server need not send; dulwich calls this a graph walker."""

    def __init__(self, tips: Sequence[str], shallow: set[str]) -> None:
        self._left = [tip.encode() for tip in tips]
        self.shallow = {sha.encode() for sha in shallow}

    def __next__(self) -> bytes | None:
        return self._left.pop() if self._left else None

    def ack(self, sha: bytes) -> None: ...

    def nak(self) -> None: ...


def _present(listed: Mapping[Any, Any]) -> dict[bytes, bytes]:
    return {bytes(name): bytes(sha) for name, sha in listed.items() if sha is not None}


def _texts(shas: set[ObjectID] | None) -> set[str]:
    return {sha.decode() for sha in shas or ()}
