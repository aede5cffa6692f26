"""From a server into a mirror. Everything here blocks, and runs in the thread of the fetch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import attrs
from dulwich.objects import ObjectID
from dulwich.refs import HEADREF

from taskrunner.connections import Connections
from taskrunner.errors import Unavailable
from taskrunner.model import Progress
from taskrunner_git import refs
from taskrunner_git.commit_tree import CommitTree
from taskrunner_git.explain import explain
from taskrunner_git.failures import Broken, clone_failed, quoted, unavailable
from taskrunner_git.packs.commit_object import find_commit, find_parents
from taskrunner_git.packs.mirror import Mirror
from taskrunner_git.packs.pack import ID, TRAILER
from taskrunner_git.protocol.transport import Transport
from taskrunner_git.remote import Remote

Report = Callable[[Progress], None]


class MirrorUpdater:
    """Brings commits of one repository into its mirror."""

    def __init__(self, remote: Remote, mirror: Mirror, connections: Connections, progress: Report) -> None:
        self._remote, self._mirror, self._connections, self._progress = remote, mirror, connections, progress

    def fetch(self, ref: str) -> tuple[str, bytes]:
        """The commit that a ref means, and its root folder, with all their objects in the mirror. The server is not
        asked for the full id of a commit that the mirror has.

        Raises: TaskFailed, Unavailable, Interrupted, Broken (the mirror or the server's pack is damaged), OSError (the
        disk).
        """
        ref = refs.validated(ref)
        self._mirror.combine(self._connections.check)
        if ref not in self._mirror.tips:
            return self._update(ref)
        self._mirror.refs.add_commit(ref)
        return find_commit(self._mirror.objects, bytes.fromhex(ref))

    def _update(self, ref: str) -> tuple[str, bytes]:
        with self._mirror.incoming.open("wb") as file:
            spool = _Spool(file, self._connections, self._progress)
            try:
                answer = self._download(ref, spool)
            except Unavailable:
                if spool.failure is not None:
                    raise spool.failure from None  # the disk failed, not the network
                raise
        if spool.size:
            self._mirror.add_incoming(spool.pack_id(), self._connections.check)
        else:
            self._mirror.incoming.unlink()
        commit, root = find_commit(self._mirror.objects, bytes.fromhex(answer.sha))
        if spool.size:
            CommitTree(self._mirror.objects, root).check()
            self._connections.check()
            self._mirror.keep_incoming()
        self._remember(commit, answer)
        return commit, root

    def _remember(self, commit: str, answer: _Answer) -> None:
        """Writes what the mirror has now; the list of shallow commits first, since refs mean complete commits."""
        stored = self._mirror.refs
        cut = {commit} if self._lacks_parents(commit) else set()
        stored.add_shallow(answer.shallow | cut, answer.unshallow)
        stored.add_commit(commit)
        if answer.name:
            stored.add_name(answer.name, answer.sha)
        stored.set_head(answer.head)

    def _lacks_parents(self, commit: str) -> bool:
        parents = find_parents(self._mirror.objects, bytes.fromhex(commit))
        return any(self._mirror.objects.find(parent) is None for parent in parents)

    def _download(self, ref: str, spool: _Spool) -> _Answer:
        answer = self._converse(lambda transport: self._receive(transport, ref, spool), ref)
        if answer is None:  # not a branch or tag: the first digits of a commit, or an error that names refs
            listed = _present(self._converse(lambda transport: transport.refs(), ref).refs)
            full = refs.find_abbreviated(ref, listed)
            if full is None:
                raise clone_failed(f"{self._remote} {refs.missing(ref, listed)}")
            answer = self._converse(lambda transport: self._receive(transport, full, spool), full)
        return answer  # type: ignore[no-any-return]

    def _receive(self, transport: Transport, ref: str, spool: _Spool) -> _Answer | None:
        """Receives a pack with the new objects, if there are any. None when the server does not list the ref."""
        found: list[tuple[str, str] | None] = [None]

        def wants(listed: Mapping[Any, Any], depth: int | None = None) -> list[ObjectID]:  # noqa: ARG001  dulwich's
            found[0] = refs.find(ref, listed)
            if any(len(sha) != 2 * ID for sha in listed.values()):
                raise clone_failed(f"{self._remote} names its objects by SHA-256, which is not supported")
            return [ObjectID(found[0][1].encode())] if found[0] and not self._has(found[0][1]) else []

        result = transport.fetch(
            determine_wants=wants,
            graph_walker=_Haves(self._mirror.tips, self._mirror.refs.shallow),
            pack_data=spool.write,
            progress=spool.note,
            depth=1,
            ref_prefix=refs.prefixes(ref),
        )
        if found[0] is None:
            return None
        head = (result.symrefs or {}).get(HEADREF, b"").decode("utf-8", "replace")
        name, sha = found[0]
        return _Answer(
            head if name == "HEAD" else name, sha, head, _texts(result.new_shallow), _texts(result.new_unshallow)
        )

    def _has(self, sha: str) -> bool:
        """Whether the mirror has this commit, or the one that this tag means."""
        if self._mirror.objects.find(bytes.fromhex(sha)) is None:
            return False
        return find_commit(self._mirror.objects, bytes.fromhex(sha))[0] in self._mirror.tips

    def _converse(self, conversation: Callable[[Transport], Any], ref: str) -> Any:
        """One conversation with the server. Raises taskrunner's own errors, without causes."""
        transport = Transport(self._remote, self._connections)
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
