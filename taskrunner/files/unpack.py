"""Unpacking an archive of source code that is not trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from taskrunner.connections import Connections
from taskrunner.errors import Bug, local_failure
from taskrunner.files.archives.bounds import Bounds, Usage
from taskrunner.files.archives.decompression import CountedReader, compression_of, decompressed
from taskrunner.files.archives.member import Member
from taskrunner.files.archives.refusal import archive_refused
from taskrunner.files.archives.tar_reader import BLOCK, TarReader, begins_tar
from taskrunner.files.archives.writer import Writer
from taskrunner.files.archives.zip_reader import BEGINNINGS, ZipReader

FORMATS = "a tar (plain or compressed by gzip, bzip2, xz or zstd) or a zip"
_DEFAULT_BOUNDS = Bounds()


@attrs.frozen
class Unpacked:
    """What is in the folder now."""

    members: int
    """Files, folders and links that the archive named."""
    size: int
    """Bytes of all files."""


def unpack(
    archive: BinaryIO,
    folder: Path,
    connections: Connections,
    *,
    strip: int = 0,
    owner: tuple[int, int] | None = None,
    bounds: Bounds = _DEFAULT_BOUNDS,
) -> Unpacked:
    """Unpacks a tar or a zip into an empty folder that nothing else writes to. The content decides about the format.

    Names, modes, symbolic links and modification times are kept; setuid, setgid and sticky bits and owners are not.
    A file that its owner may not read, or a folder that he may not list and enter, gets these rights. A folder that the
    archive uses and does not name gets the mode 755. `owner`, a user and a group, gets all that is written. The tree is
    the archive's own, as `tar -x` has it: the archives of GitHub and GitLab have all files in one folder at their top,
    and `strip` takes so many leading parts from each path (as `tar --strip-components`, but a file with no more parts
    than that is refused).

    Blocks: for `run_blocking`, with `connections.interrupt` to end it. Whatever it raises, the folder may hold a part
    of the archive, which the caller removes.
    Raises: TaskFailed `source-refused` (the archive is damaged, too large or hostile: the text names the member),
    TaskFailedInternally (this machine's disk, or a library that is missing), Interrupted, Bug (a folder with content).
    """
    try:
        with os.scandir(folder) as content:
            if any(content):
                raise Bug("an archive is unpacked into an empty folder only")
        usage = Usage(bounds, os.fstat(archive.fileno()).st_size, connections)
        return _unpack(_members(archive, usage), Writer(folder, usage, strip, owner))
    except OSError as error:
        if error.errno is None:
            raise  # Interrupted
        raise local_failure(f"unpack: the archive cannot be unpacked here: {error.strerror}", error) from None


def _unpack(members: Iterator[Member], writer: Writer) -> Unpacked:
    count = size = 0
    try:
        for member in members:
            size += writer.add(member)
            count += 1
        if not count:
            raise archive_refused("is empty")
        writer.finish()
    finally:
        writer.close()
    return Unpacked(count, size)


def _members(archive: BinaryIO, usage: Usage) -> Iterator[Member]:
    archive.seek(0)
    beginning = archive.read(BLOCK)
    archive.seek(0)
    if not beginning:
        raise archive_refused("is empty")
    if beginning.startswith(BEGINNINGS):
        return ZipReader(archive, usage).members()
    compression = compression_of(beginning)
    if not compression and not begins_tar(beginning):
        raise archive_refused(f"is {_looks_like(beginning)}, not {FORMATS}")
    return TarReader(CountedReader(decompressed(archive, compression), usage), usage).members()


def _looks_like(beginning: bytes) -> str:
    text = beginning.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    others = {b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!": "a RAR archive", b"LZIP": "compressed by lzip"}
    return next((name for magic, name in others.items() if beginning.startswith(magic)), "of another format")
