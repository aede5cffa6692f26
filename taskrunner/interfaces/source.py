"""SourceOptions: what the operator of a worker says about the sources of tasks."""

from __future__ import annotations

import attrs
from attrs.validators import deep_iterable, ge, gt, matches_re

from taskrunner.limits import REPOSITORY_HINT, REPOSITORY_PATTERN

ABSOLUTE_PATTERN = r"/(?:[^/\x00-\x1f\x7f]+/?)*"
"""A path from the root, without doubled slashes and control characters."""

OVER_NETWORK = ("https://*:*", "http://*:*", "git://*:*")
"""Every server to which the worker has no key of its own."""

EVERYTHING = (*OVER_NETWORK, "ssh://*:*", "/")
"""Also with the keys, and the files, of the worker's user."""

_GIB, _MIB = 1 << 30, 1 << 20


@attrs.frozen
class SourceLimits:
    """How much of a git server's answer is taken. The defaults are far above the largest public repositories: of
    Chromium, a fetch without history is about 2 GB, with half a million files and as many branches and tags."""

    pack_size: int = attrs.field(default=8 * _GIB, validator=ge(1), metadata={"unit": "bytes"})
    """Bytes of one pack: what a server sends for one repository of a commit."""
    refs: int = attrs.field(default=1_000_000, validator=ge(1))
    """Branches, tags and other lines before the pack."""
    refs_size: int = attrs.field(default=128 * _MIB, validator=ge(1), metadata={"unit": "bytes"})
    """Bytes of these lines together."""
    unpacked_size: int = attrs.field(default=128 * _GIB, validator=ge(1), metadata={"unit": "bytes"})
    """Bytes of all objects of one pack, inflated and with all deltas applied."""
    object_memory: int = attrs.field(default=256 * _MIB, validator=ge(1), metadata={"unit": "bytes"})
    """Bytes of one object that must be whole in memory, with the deltas that it is made from. Most hosts refuse files
    from 100 MB on; a file that is no delta is streamed, and has no limit of its own."""
    files: int = attrs.field(default=1_000_000, validator=ge(1))
    """Files, links and folders of a commit, those of its submodules included."""
    files_size: int = attrs.field(default=128 * _GIB, validator=ge(1), metadata={"unit": "bytes"})
    """Bytes of all files of a commit together."""
    submodules: int = attrs.field(default=1000, validator=ge(0))
    """Submodules of a commit, those within others included."""
    stall_time: float = attrs.field(default=600.0, validator=gt(0), metadata={"unit": "s"})
    """Seconds in which a server sends nothing that is needed. A large one takes minutes before the first byte of a
    pack; its messages meanwhile do not count."""


@attrs.frozen
class SourceOptions:
    """The `[source]` table of the worker's configuration. It is for all platforms, and reaches each engine in its
    RunContext."""

    archives: tuple[str, ...] = attrs.field(
        default=(),
        validator=deep_iterable(matches_re(ABSOLUTE_PATTERN)),
        metadata={"hint": "write the full path of a folder or of an archive"},
    )
    """Folders of this machine, and single files, whose archives tasks may name by their paths. Empty: none."""
    repositories: tuple[str, ...] = attrs.field(
        default=OVER_NETWORK,
        validator=deep_iterable(matches_re(REPOSITORY_PATTERN)),
        metadata={"hint": REPOSITORY_HINT},
    )
    """The repositories that tasks may name, submodules included: patterns, which `taskrunner.schema.repositories`
    describes. By default those that need no key and no file of the worker's user: any over HTTPS, HTTP and git's own
    protocol."""
    ca_file: str = attrs.field(
        default="",
        validator=matches_re(rf"(?:{ABSOLUTE_PATTERN})?"),
        metadata={"hint": "write the full path of a file in PEM format"},
    )
    """Authorities whose certificates are trusted beside those of the system. Empty: none."""
    limits: SourceLimits = attrs.field(factory=SourceLimits)
    """How much of a git server's answer is taken."""
    files: tuple[str, ...] = attrs.field(
        default=(),
        validator=deep_iterable(matches_re(ABSOLUTE_PATTERN)),
        metadata={"hint": "write the full path of a folder or of a file"},
    )
    """Folders of this machine, and single files, whose files tasks may mount by their paths. Empty: none."""

    def of_operator(self) -> SourceOptions:
        """For a task that the operator of the worker has written: every repository, unless the configuration says
        otherwise."""
        return attrs.evolve(self, repositories=EVERYTHING) if self.repositories == OVER_NETWORK else self
