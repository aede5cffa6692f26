"""Repositories made object by object, and a server that gives them out without a look: for what git itself refuses."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from tests.support.small_server import QuietHandler, host_of, small_server

COMMIT, TREE, BLOB, TAG, OFS_DELTA, REF_DELTA = 1, 2, 3, 4, 6, 7
KINDS = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
CAPABILITIES = b"side-band-64k ofs-delta shallow thin-pack include-tag allow-reachable-sha1-in-want"
WHO = b"A. Author <author@example.org> 1700000000 +0000"


def entry(mode: bytes, name: bytes, sha: bytes) -> bytes:
    """One line of a tree."""
    return mode + b" " + name + b"\0" + sha


def packed(kind: int, data: bytes, *, base: bytes = b"", size: int | None = None) -> bytes:
    """One object of a pack; `size` is what it claims."""
    left = len(data) if size is None else size
    head = [kind << 4 | left & 15]
    left >>= 4
    while left:
        head[-1] |= 0x80
        head.append(left & 0x7F)
        left >>= 7
    return bytes(head) + base + zlib.compress(data)


def pack_of(*objects: bytes, count: int | None = None) -> bytes:
    body = struct.pack(">4sII", b"PACK", 2, len(objects) if count is None else count) + b"".join(objects)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


@attrs.define
class RawRepository:
    """Objects and refs as a test wants them."""

    objects: list[bytes] = attrs.field(factory=list)
    refs: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    """Names and ids in hex."""
    symrefs: bytes = b" symref=HEAD:refs/heads/main"
    pack: bytes = b""
    """Instead of one of the objects."""

    def add(self, kind: int, data: bytes) -> bytes:
        """Adds an object. Returns its id."""
        self.objects.append(packed(kind, data))
        return object_id(kind, data)

    def blob(self, data: bytes = b"x") -> bytes:
        return self.add(BLOB, data)

    def tree(self, *entries: bytes) -> bytes:
        return self.add(TREE, b"".join(entries))

    def commit(self, tree: bytes, *headers: bytes, who: bytes = WHO) -> bytes:
        """A commit on the branch main, which is HEAD."""
        lines = [b"tree " + tree.hex().encode(), b"author " + who, b"committer " + who, *headers, b"", b"message\n"]
        return self.point_to(self.add(COMMIT, b"\n".join(lines)))

    def point_to(self, sha: bytes) -> bytes:
        self.refs = [(b"HEAD", sha.hex().encode()), (b"refs/heads/main", sha.hex().encode())]
        return sha

    def advertisement(self) -> bytes:
        lines = [sha + b" " + name for name, sha in self.refs] or [b"0" * 40 + b" capabilities^{}"]
        lines[0] += b"\0" + CAPABILITIES + self.symrefs
        return b"".join([packet(b"# service=git-upload-pack\n"), b"0000", *(packet(line + b"\n") for line in lines)])

    def answer(self, request: bytes) -> bytes:
        """What follows a request for a pack."""
        pack = self.pack or pack_of(*self.objects)
        pieces = [packet(b"\x01" + pack[at : at + 60_000]) for at in range(0, len(pack), 60_000)]
        shallow = b"0000" if b"deepen" in request else b""
        return shallow + packet(b"NAK\n") + b"".join(pieces) + b"0000"


def object_id(kind: int, data: bytes) -> bytes:
    return hashlib.sha1(b"%b %d\0%b" % (KINDS[kind], len(data), data), usedforsecurity=False).digest()


def packet(data: bytes) -> bytes:
    return b"%04x" % (len(data) + 4) + data


@contextmanager
def serving_raw(repositories: dict[str, RawRepository]) -> Iterator[str]:
    """Serves repositories by their path over HTTP. The URL, which ends in `/`."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self._send("advertisement", lambda repository: repository.advertisement() + b"0000")

        def do_POST(self) -> None:
            body = self.body()
            self._send("result", lambda repository: repository.answer(body))

        def _send(self, kind: str, answer: object) -> None:
            repository = repositories.get(self.path.strip("/").split("/")[0])
            body = answer(repository) if repository else b""  # type: ignore[operator]  # a function of ours
            headers = {"Content-Type": f"application/x-git-upload-pack-{kind}"}
            self.answer(200 if repository else 404, body, headers)

    with small_server(Handler) as server:
        yield f"http://{host_of(server)}/"
