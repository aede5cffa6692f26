"""Artifacts as an archive that is made while it is sent, unpacked by the real tar."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from taskrunner.errors import TaskFailedInternally
from taskrunner.model import RunKey
from taskrunner.queues.agent.archive import CHUNK_SIZE, ArchiveStream

RUN = RunKey("one", 0)
NOISE = random.Random(1).randbytes(3 * CHUNK_SIZE + 1)  # noqa: S311  what does not get smaller


async def body(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


async def chunks_of(files: Mapping[str, bytes]) -> list[bytes]:
    """What a caller gets."""
    sent: list[bytes] = []

    async def begin() -> None:
        sent.append(b"begun")

    async def send(chunk: bytes) -> None:
        sent.append(chunk)

    stream = ArchiveStream(begin, send)
    for name, data in files.items():
        await stream.put(RUN, f"artifacts/{name}", body(data), size=len(data), content_type="text/plain")
    await stream.put_log(RUN, Path("/nowhere"))
    assert sent.count(b"begun") == len(files) + 1
    assert sent[0] == b"begun"
    return [chunk for chunk in sent if chunk != b"begun"]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"empty": b""},
        {"a.txt": b"x" * 511, "b.txt": b"y" * 512, "c.txt": b"z" * 513},
        {"noise.bin": NOISE, "deep/er/" + "ü" * 90 + ".txt": b"long and not ASCII"},
    ],
    ids=["nothing", "an empty file", "edges of blocks", "large"],
)
def test_tar_unpacks_what_was_sent_in_chunks_of_a_mebibyte(files: dict[str, bytes], tmp_path: Path) -> None:
    chunks = asyncio.run(chunks_of(files))
    assert all(len(chunk) == CHUNK_SIZE for chunk in chunks[:-1])
    assert 0 < len(chunks[-1]) <= CHUNK_SIZE
    (tmp_path / "Archive.tgz").write_bytes(b"".join(chunks))
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xzf", tmp_path / "Archive.tgz", "-C", tmp_path / "out"], check=True)
    found = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == files


def test_an_entry_that_was_cut_ends_the_archive() -> None:
    async def nothing(_: bytes = b"") -> None: ...

    async def main() -> None:
        stream = ArchiveStream(nothing, nothing)
        with pytest.raises(TaskFailedInternally, match="a has 3 bytes, and not 4"):
            await stream.put(RUN, "a", body(b"123"), size=4)
        with pytest.raises(TaskFailedInternally, match="a was cut in the middle of the archive"):
            await stream.put(RUN, "a", body(b"1234"), size=4)

    asyncio.run(main())
