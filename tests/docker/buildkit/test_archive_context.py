"""The files of an archive as a context: what BuildKit requests again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import Source
from taskrunner_docker.buildkit import BuildOutcome, BuildRequest
from taskrunner_source import fetch_source
from tests.docker.buildkit.conftest import TIMEOUT, Builder
from tests.support.archives import entry, tar
from tests.support.source_run import SourceRun

DOCKERFILE = b"FROM taskrunner-base\nCOPY . /context\n"


def test_an_archive_is_sent_once_and_another_of_the_same_sizes_and_times_too(tmp_path: Path, builder: Builder) -> None:
    """Archives that can be made again byte by byte have one time in all versions."""

    async def build(text: bytes) -> BuildOutcome:
        (tmp_path / "src.tar").write_bytes(
            tar(entry("top/Dockerfile", DOCKERFILE, mtime=10**9), entry("top/file", text, mtime=10**9))
        )
        source = await fetch_source(run.context(Source(archive=str(tmp_path / "src.tar"), strip=1)))
        labels = {"taskrunner.test": builder.label}
        try:
            request = BuildRequest(await source.files("."), labels=labels, shared_key=f"{source.times_key}/.")
            return await asyncio.wait_for(builder.run(request), TIMEOUT)
        finally:
            await source.release()

    run = SourceRun(tmp_path / "home", SourceOptions((str(tmp_path),)))
    one, two = f"1{builder.label}", f"2{builder.label}"  # BuildKit may still have the files of an earlier suite
    assert asyncio.run(build(one.encode())).sent_bytes > len(one)
    assert asyncio.run(build(one.encode())).sent_bytes == 0
    other = asyncio.run(build(two.encode()))
    assert builder.output(other, "cat", "/context/file") == two
    assert asyncio.run(build(two.encode())).sent_bytes == 0
    again = asyncio.run(build(one.encode()))
    assert again.sent_bytes == 0
    assert builder.output(again, "cat", "/context/file") == one
