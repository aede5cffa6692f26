"""An archive as the source of a run: downloaded once, unpacked for each run."""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from functools import partial
from pathlib import Path

import pytest

from taskrunner.errors import MalformedPayload, TaskFailed, Unavailable
from taskrunner.files.download import DownloadLimits, download
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import Secret, Source
from taskrunner_source import checkout, fetch_source
from tests.support.archives import COMPRESS, entry, link, tar, zip_info, zipped
from tests.support.file_server import Exchange, FileServer, make_certificate, serving
from tests.support.source_run import SourceRun

TAR = tar(entry("web-1.2/run.sh", b"#!/bin/sh\n", mode=0o755, mtime=10**9), link("web-1.2/link", "run.sh"))
PACKED = {f"tar.{name}" if name else "tar": compress(TAR) for name, compress in COMPRESS.items()} | {
    "zip": zipped((zip_info("web-1.2/run.sh", 0o100755), b"#!/bin/sh\n"))
}


AT_ONCE = partial(download, limits=DownloadLimits(pauses=(0.0,)))
"""Tries a second time without a pause."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("form", PACKED)
def test_the_files_of_an_archive(run: SourceRun, server: FileServer, form: str) -> None:
    data = PACKED[form]
    server.answers = [lambda asked: asked.send(200, data)]
    url = f"http://127.0.0.1:{server.port}/src.{form}"
    assert run.checkout(Source(archive=url, sha256=sha256(data).upper())) == sha256(data)
    script = run.folder / "web-1.2" / "run.sh"
    assert script.read_bytes() == b"#!/bin/sh\n"
    assert script.stat().st_mode & 0o777 == 0o755
    assert f"source: {url} has the sha256 {sha256(data)}" in run.log.text
    assert re.search(r"source: \d files and folders, 10 bytes", run.log.text)


def test_leading_folders_are_removed(run: SourceRun, allowed: Path) -> None:
    (allowed / "src.tar").write_bytes(TAR)
    assert run.checkout(Source(archive=str(allowed / "src.tar"), strip=1)) == sha256(TAR)
    assert sorted(path.name for path in run.folder.iterdir()) == ["link", "run.sh"]
    assert (run.folder / "run.sh").stat().st_mtime == 10**9
    with pytest.raises(TaskFailed, match=r'unpack: "web-1.2/run.sh" has no more than the 2 parts that are stripped'):
        run.checkout(Source(archive=str(allowed / "src.tar"), strip=2))


def test_one_download_serves_all_that_wait_for_it_and_those_after(run: SourceRun, server: FileServer) -> None:
    def answer(asked: Exchange) -> None:
        assert together.wait(30)
        asked.send(200, TAR)

    async def scene() -> None:
        contexts = [run.context(source) for _ in range(5)]
        tasks = [asyncio.create_task(checkout(context, context.folder)) for context in contexts]
        await asyncio.to_thread(server.asked.acquire)
        together.set()
        await asyncio.gather(*tasks)
        assert all((context.folder / "web-1.2/run.sh").exists() for context in contexts)

    together = threading.Event()
    server.answers = [answer]
    source = Source(archive=f"http://127.0.0.1:{server.port}/src.tar", sha256=sha256(TAR))
    asyncio.run(scene())
    run.checkout(source)
    assert len(server.requests) == 1


def test_a_damaged_copy_in_the_cache_is_downloaded_again(run: SourceRun, server: FileServer) -> None:
    server.answers = [lambda asked: asked.send(200, TAR)]
    source = Source(archive=f"http://127.0.0.1:{server.port}/src.tar", sha256=sha256(TAR))
    run.checkout(source)
    (kept,) = run.home.glob("caches/*/archive")
    kept.write_bytes(TAR[:-1] + b"x")
    run.checkout(source)
    assert len(server.requests) == 2
    assert kept.read_bytes() == TAR


def test_an_archive_belongs_to_the_credentials_that_it_was_downloaded_with(run: SourceRun, server: FileServer) -> None:
    """A task without the token cannot read it by its checksum."""

    def answer(asked: Exchange) -> None:
        if asked.headers.get("authorization") == "Bearer t0ken-of-mine":
            asked.send(200, TAR)
        else:
            asked.send(401)

    server.answers = [answer]
    url = f"http://127.0.0.1:{server.port}/src.tar"
    run.checkout(Source(archive=url, sha256=sha256(TAR), token=Secret(literal="t0ken-of-mine")))
    for token, problem in (None, "needs credentials"), (Secret(literal="another"), "refused the credentials"):
        with pytest.raises(TaskFailed, match=problem) as caught:
            run.checkout(Source(archive=url, sha256=sha256(TAR), token=token))
        assert caught.value.reason == "download-failed"
    assert "t0ken" not in run.log.text
    assert not list(run.folder.iterdir())


def test_a_token_goes_to_no_other_host(run: SourceRun, server: FileServer) -> None:
    """Another port is another host."""
    with_token = Secret(literal="t0ken-of-mine")
    server.answers = [lambda asked: asked.send(302, Location=f"http://localhost:{asked.server.port}/other")]
    server.answers.append(lambda asked: asked.send(200, TAR))
    url = f"http://127.0.0.1:{server.port}/src.tar"
    run.checkout(Source(archive=url, sha256=sha256(TAR), token=with_token))
    assert [asked.headers.get("authorization") for asked in server.requests] == ["Bearer t0ken-of-mine", None]


def test_credentials_in_the_url_are_used_and_masked(run: SourceRun, server: FileServer) -> None:
    server.answers = [lambda asked: asked.send(200, TAR)]
    url = f"http://me:s3%2Fcret@127.0.0.1:{server.port}/src.tar?signature=0123456789"
    run.checkout(Source(archive=url, sha256=sha256(TAR)))
    assert server.requests[0].headers["authorization"].startswith("Basic ")
    run.log.say("s3/cret and s3%2Fcret")
    assert "s3/" not in run.log.text
    assert "s3%" not in run.log.text
    assert "signature" not in run.log.text


def test_without_a_checksum_each_run_gets_what_the_server_has(run: SourceRun, server: FileServer) -> None:
    new = tar(entry("new"))
    server.answers = [lambda asked: asked.send(200, TAR), lambda asked: asked.send(200, new)]
    source = Source(archive=f"http://127.0.0.1:{server.port}/src.tar")
    assert run.checkout(source) == sha256(TAR)
    assert run.checkout(source) == sha256(new)
    assert [path.name for path in run.folder.iterdir()] == ["new"]


def test_without_a_checksum_a_file_whose_end_is_not_known_is_refused(run: SourceRun, server: FileServer) -> None:
    server.answers = [lambda asked: asked.send(200, TAR[:700], length=None)]
    with pytest.raises(TaskFailed, match=r"does not say where the file ends, .* give sha256"):
        run.checkout(Source(archive=f"http://127.0.0.1:{server.port}/src.tar"))


def test_without_a_checksum_parts_are_not_put_together(
    run: SourceRun, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each could be of another version."""
    monkeypatch.setattr("taskrunner.files.downloads.run_download.download", AT_ONCE)
    big = tar(entry("big", bytes(300_000)))
    server.answers = [lambda asked: asked.send(200, big[:200_000], length=len(big)), lambda asked: asked.send(200, big)]
    assert run.checkout(Source(archive=f"http://127.0.0.1:{server.port}/src.tar")) == sha256(big)
    assert [asked.headers.get("range") for asked in server.requests] == [None, None]


def test_a_cancelled_download_leaves_nothing_half_done(run: SourceRun, server: FileServer) -> None:
    async def scene() -> None:
        context = run.context(Source(archive=f"http://127.0.0.1:{server.port}/src.tar", sha256=sha256(TAR)))
        task = asyncio.create_task(checkout(context, context.folder))
        await asyncio.to_thread(server.asked.acquire)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [lease.ended for lease in run.caches.leases] == ["discarded"]
        assert not list(context.folder.iterdir())

    server.answers = [lambda asked: asked.stall()]
    asyncio.run(scene())
    assert server.left.wait(30)


def test_a_server_that_is_down_may_be_up_later(run: SourceRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.files.downloads.run_download.download", AT_ONCE)
    with pytest.raises(Unavailable, match=r"download: 127\.0\.0\.1:9 refused the connection"):
        run.checkout(Source(archive="http://127.0.0.1:9/src.tar", sha256=sha256(TAR)))
    assert run.caches.leased == []


def test_a_tree_to_be_read(run: SourceRun, allowed: Path) -> None:
    members = entry("a/b", b"x", mtime=-5), entry("a.c", b"y", mtime=1 << 34, mode=0), link("a/l", "../a.c")
    (allowed / "src.tar").write_bytes(tar(*members, link("web", "a")))

    async def scene() -> None:
        context = run.context(Source(archive=str(allowed / "src.tar")))
        source = await fetch_source(context)
        tree = await source.files(".")
        found = [(each.path, oct(each.mode), each.size, each.link) for each in tree.entries()]
        assert found == [
            ("a", "0o40755", 0, ""),
            ("a/b", "0o100644", 1, ""),
            ("a/l", "0o120777", 0, "../a.c"),
            ("a.c", "0o100400", 1, ""),
            ("web", "0o120777", 0, "a"),
        ]
        times = {each.path: each.mtime_ns for each in tree.entries()}
        assert times["a/b"] == 0
        assert times["a.c"] <= (1 << 63) - 1
        assert b"".join(tree.read("a.c")) == b"y"
        assert [each.path for each in (await source.files("web")).entries()] == ["b", "l"]
        assert source.identity == {"sha256": sha256((allowed / "src.tar").read_bytes())}
        with pytest.raises(TaskFailed, match=r'source: the archive has no folder "wep"; there is "web"'):
            await source.files("wep")
        with pytest.raises(MalformedPayload, match=r"build\.keep_git: an archive has no `\.git`"):
            await source.files(".", keep_git=True)
        await source.release()
        await source.release()
        assert not list(context.folder.iterdir())

    asyncio.run(scene())


@pytest.mark.parametrize("source", [None, Source()])
def test_a_task_without_a_source(run: SourceRun, source: Source | None) -> None:
    with pytest.raises(MalformedPayload, match="source: is missing"):
        asyncio.run(fetch_source(run.context(source)))


def test_an_authority_of_the_configuration_is_trusted(run: SourceRun, tmp_path: Path) -> None:
    with serving(make_certificate(tmp_path / "server.pem")) as server:
        server.answers = [lambda asked: asked.send(200, TAR)]
        source = Source(archive=f"https://127.0.0.1:{server.port}/src.tar", sha256=sha256(TAR))
        with pytest.raises(TaskFailed, match=r"the certificate of 127\.0\.0\.1:\d+ is not accepted"):
            run.checkout(source)
        run.options = SourceOptions(ca_file=f"{tmp_path}/server.pem.crt")
        assert run.checkout(source) == sha256(TAR)
