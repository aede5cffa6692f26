"""The tar of an image, as `docker save` writes it: checked, and without the names that it would give.

A name is one of the whole machine: whoever chooses the file would choose what `postgres:16` is for all others. So the
lists of names are left out, and the manifest is written anew, behind everything else.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

import attrs

from taskrunner.connections import Connections
from taskrunner.files.archives.bounds import Bounds, Usage
from taskrunner.files.archives.decompression import CountedReader, compression_of, decompressed
from taskrunner.files.archives.member import Kind, Member, parts_of
from taskrunner.files.archives.refusal import archive_refused, member_refused
from taskrunner.files.archives.tar_reader import BLOCK, TarReader, begins_tar
from taskrunner_docker.images.counted_layer import counted

MAX_DOCUMENT = 4 << 20
"""Bytes of a manifest or a configuration: a registry takes no larger ones."""
_BOUNDS = Bounds(members=10_000)
"""An image has at most 127 layers, each with a few files."""
_MANIFEST = "manifest.json"
_LISTS = frozenset({_MANIFEST, "repositories", "index.json", "oci-layout"})
"""What may name images. With the last two, Docker would read the third and not the first."""
_KINDS = {Kind.FILE: tarfile.REGTYPE, Kind.FOLDER: tarfile.DIRTYPE, Kind.SYMBOLIC_LINK: tarfile.SYMTYPE}
"""Old versions of `docker save` link equal layers."""


@attrs.frozen
class ImageArchive:
    """A file that was read once. Its methods block."""

    file: BinaryIO
    connections: Connections
    image_id: str
    manifest: bytes
    """The new one."""
    sizes: tuple[int, ...]
    """Bytes of each member, in their order."""

    @classmethod
    def check(cls, file: BinaryIO, connections: Connections) -> ImageArchive:
        """Reads all of it, and all of its layers. Raises: TaskFailed, TaskFailedInternally, Interrupted."""
        digests, sizes, manifest = dict[str, str](), list[int](), b""
        usage = _usage(file, connections)
        for member, name in _members(file, usage):
            size, digest, beginning = _summed(counted(member, usage))
            sizes.append(size)
            if name == _MANIFEST:
                if manifest or member.kind is not Kind.FILE or size > MAX_DOCUMENT:
                    raise member_refused(name, "is no single small file")
                manifest = beginning
            digests[name] = digest
        config, layers = _image_of(manifest)
        if config not in digests:
            raise archive_refused("is no image: its manifest names a configuration that is not there")
        document = [{"Config": config, "RepoTags": None, "Layers": layers}]
        return cls(file, connections, f"sha256:{digests[config]}", json.dumps(document).encode(), tuple(sizes))

    def pieces(self) -> Iterator[bytes]:
        """The bytes that Docker gets."""
        members = _members(self.file, _usage(self.file, self.connections))
        for (member, name), size in zip(members, self.sizes, strict=True):
            if name in _LISTS or not name:
                continue
            yield _header(name, size, _KINDS[member.kind], member.target)
            yield from member.content
            yield bytes(-size % BLOCK)
        yield _header(_MANIFEST, len(self.manifest), tarfile.REGTYPE, "") + self.manifest
        yield bytes(-len(self.manifest) % BLOCK + 2 * BLOCK)


def _usage(file: BinaryIO, connections: Connections) -> Usage:
    return Usage(_BOUNDS, os.fstat(file.fileno()).st_size, connections)


def _members(file: BinaryIO, usage: Usage) -> Iterator[tuple[Member, str]]:
    """With their plain names; empty for the top itself."""
    file.seek(0)
    beginning = file.read(BLOCK)
    file.seek(0)
    compression = compression_of(beginning)
    if not compression and not (len(beginning) == BLOCK and begins_tar(beginning)):
        raise archive_refused("is no tar: write it by `docker save`")
    for member in TarReader(CountedReader(decompressed(file, compression), usage), usage).members():
        if member.kind not in _KINDS:
            raise member_refused(member.name, "is a hard link, which no image has")
        yield member, "/".join(parts_of(member.name, member.name))


def _summed(content: Iterator[bytes]) -> tuple[int, str, bytes]:
    """Size, sha256, and at most MAX_DOCUMENT of the first bytes."""
    size, digest, beginning = 0, hashlib.sha256(), bytearray()
    for piece in content:
        size += len(piece)
        digest.update(piece)
        beginning += piece[: MAX_DOCUMENT - len(beginning)]
    return size, digest.hexdigest(), bytes(beginning)


def _image_of(manifest: bytes) -> tuple[str, list[str]]:
    """The names of the configuration and of the layers. Raises TaskFailed."""
    try:
        documents = json.loads(manifest) if manifest else []
    except (ValueError, RecursionError):
        documents = None
    match documents:
        case [{"Config": str(config), "Layers": list(layers)}] if all(isinstance(layer, str) for layer in layers):
            return config, layers
        case []:
            raise archive_refused("has no image: its manifest.json is missing or empty; write it by `docker save`")
        case [_, _, *_]:
            raise archive_refused(f"has {len(documents)} images: save the one that the task runs")
    raise archive_refused("is no image: its manifest.json is not as `docker save` writes it")


def _header(name: str, size: int, kind: bytes, target: str) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, target
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
