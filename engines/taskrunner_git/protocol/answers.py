"""What a git server sends in one conversation, held to the limits of the worker's configuration."""

from __future__ import annotations

import re
from collections.abc import Callable

from taskrunner.interfaces.source import SourceLimits
from taskrunner_git.failures import ServerRefused, too_much
from taskrunner_git.protocol.watch import Watch
from taskrunner_git.remote import Remote

Read = Callable[[int], bytes]
Write = Callable[[bytes], int]

_PEELED = re.compile(rb"[0-9a-f]{40} (refs/tags/\S+) (?:.* )?peeled:([0-9a-f]{40})\b")
_PEELED_BEFORE = re.compile(rb"([0-9a-f]{40}) (refs/tags/\S+)\^\{\}\n?")
"""The same in the older versions of the protocol: a line of its own."""
_LENGTH = 4
"""Bytes of the length of a line."""
_CHANNELS = b"\x01", b"\x02", b"\x03"
"""What a line begins with that has no part of a list: a piece of the pack, or a message."""
_READS = 2
"""Of each line: its length, and the line."""


class Answers:
    """Used from one thread. Before the first byte of the pack everything is kept by dulwich, and counted here."""

    def __init__(self, remote: Remote, limits: SourceLimits, watch: Watch) -> None:
        self.peeled: dict[str, str] = {}
        """The commit of each annotated tag that was listed."""
        self._remote, self._limits, self._watch = remote, limits, watch
        self._reads = self._size = self._pack_size = 0

    def checked(self, read: Read) -> Read:
        """The same reader. It raises ServerRefused for an error packet, which dulwich ignores in the place of a pack,
        and TaskFailed for too long a list of refs."""

        def checked(size: int) -> bytes:
            data = read(size)
            if data.startswith(b"ERR "):
                raise ServerRefused(data[4:].decode("utf-8", "replace"))
            if not self._pack_size:
                self._count(data)
            return data

        return checked

    def pack(self, write: Write) -> Write:
        """The same writer for the pack. It raises TaskFailed for one that is too large."""

        def checked(data: bytes) -> int:
            self._pack_size += len(data)
            self._watch.moved(len(data))
            if self._pack_size > self._limits.pack_size:
                raise too_much(f"{self._remote}: the pack", "pack_size", self._limits)
            return write(data)

        return checked

    def _count(self, data: bytes) -> None:
        self._reads += 1
        self._size += len(data)
        if len(data) > _LENGTH and not data.startswith(_CHANNELS):
            self._watch.moved(len(data))
        if self._reads > _READS * self._limits.refs:
            raise too_much(f"{self._remote}: the list of branches and tags", "refs", self._limits)
        if self._size > self._limits.refs_size:
            raise too_much(f"{self._remote}: the list of branches and tags", "refs_size", self._limits)
        if found := _PEELED.match(data):
            self.peeled[found[1].decode("utf-8", "replace")] = found[2].decode()
        elif found := _PEELED_BEFORE.fullmatch(data):
            self.peeled[found[2].decode("utf-8", "replace")] = found[1].decode()
