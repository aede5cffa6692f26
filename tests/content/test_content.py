"""Content of downloads, files and texts: once for all, kept, checked, sealed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from pathlib import Path

import pytest

from taskrunner.caches.eviction import Eviction
from taskrunner.errors import TaskFailed, Unavailable
from taskrunner.files.plain_folder import PlainFolder
from taskrunner.interfaces.caches import CacheLimits
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import Secret
from tests.content.conftest import Runs
from tests.support.archives import COMPRESS, entry, folder, link, tar, zipped
from tests.support.file_server import Exchange, FileServer
from tests.support.killed import run_until_ready_and_kill

DATA = b"some data\n" * 1000
SUM = hashlib.sha256(DATA).hexdigest()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_download_is_made_once_for_all_that_wait_for_it(runs: Runs, server: FileServer) -> None:
    server.answers = [lambda exchange: exchange.send(200, DATA)]

    async def main() -> None:
        found = await asyncio.gather(*(runs.provide(url=server.url(), sha256=SUM) for _ in range(5)))
        assert {content.path.read_bytes() for content in found} == {DATA}
        assert len({content.path for content in found}) == 1
        for content in found:
            await content.release()

    asyncio.run(main())
    assert runs.read(url=server.url(), sha256=SUM.upper()) == DATA
    assert len(server.requests) == 1


def test_a_file_is_sealed(runs: Runs, server: FileServer) -> None:
    server.answers = [lambda exchange: exchange.send(200, DATA)]

    async def main() -> None:
        plain = await runs.provide(url=server.url(), sha256=SUM)
        program = await runs.provide(url=server.url(), sha256=SUM, executable=True)
        assert (mode(plain.path), mode(program.path)) == (0o444, 0o555)
        await plain.release()
        await program.release()

    asyncio.run(main())


def test_a_wrong_checksum_is_the_authors_fault_and_keeps_nothing(runs: Runs, server: FileServer) -> None:
    server.answers = [lambda exchange: exchange.send(200, b"other")]
    with pytest.raises(TaskFailed, match="sha256"):
        runs.read(url=server.url(), sha256=SUM)
    assert runs.kept() == []


@pytest.mark.parametrize("changed", ["other bytes", "no file"])
def test_what_has_changed_is_fetched_again(runs: Runs, server: FileServer, changed: str) -> None:
    server.answers = [lambda exchange: exchange.send(200, DATA)]
    runs.read(url=server.url(), sha256=SUM)
    (content,) = runs.home.glob("engine-caches/*/*/content")
    content.unlink()
    if changed == "other bytes":
        content.write_bytes(DATA[:-1] + b"!")
    assert runs.read(url=server.url(), sha256=SUM) == DATA
    assert len(server.requests) == 2


def test_a_folder_that_has_changed_is_fetched_again(runs: Runs, server: FileServer) -> None:
    archive = tar(entry("a", b"1"), folder("deep"), entry("deep/b", b"2"))
    server.answers = [lambda exchange: exchange.send(200, archive)]
    mount = {"url": server.url(), "sha256": hashlib.sha256(archive).hexdigest(), "unpack": True}

    async def main() -> None:
        for damage in (lambda top: (top / "a").unlink(), lambda top: os.truncate(top / "deep/b", 0), lambda _: None):
            content = await runs.provide(**mount)
            assert {(content.path / name).read_bytes() for name in ("a", "deep/b")} == {b"1", b"2"}
            damage(content.path)
            await content.release()
        await (await runs.provide(**mount)).release()

    asyncio.run(main())
    assert len(server.requests) == 3


@pytest.mark.parametrize("compression", [*COMPRESS, "zip"])
def test_an_archive_is_unpacked_and_sealed(runs: Runs, server: FileServer, compression: str) -> None:
    members = tar(
        folder("bin"), entry("bin/tool", b"#!", mode=0o700), entry("data", b"x", mode=0o666), link("l", "data")
    )
    archive = zipped(("bin/tool", b"#!"), ("data", b"x")) if compression == "zip" else COMPRESS[compression](members)
    server.answers = [lambda exchange: exchange.send(200, archive)]

    async def main() -> None:
        content = await runs.provide(url=server.url(), sha256=hashlib.sha256(archive).hexdigest(), unpack=True)
        assert (content.path / "data").read_bytes() == b"x"
        assert (mode(content.path), mode(content.path / "bin"), mode(content.path / "data")) == (0o755, 0o755, 0o444)
        if compression != "zip":
            assert mode(content.path / "bin/tool") == 0o555
            assert (content.path / "l").readlink() == Path("data")
        assert {path.name for path in content.path.parent.iterdir()} == {"content", "sealed"}
        await content.release()

    asyncio.run(main())


HOSTILE = {
    "leads out": (tar(entry("../out", b"x")), r'"\.\./out" has a part "\.\."'),
    "a link that leads out": (tar(link("l", "/etc/passwd")), "leads? out|absolute|outside"),
    "a bomb": (COMPRESS["gz"](bytes(200 << 20)), "is not|times as large|not a tar"),
    "a bomb in a tar": (COMPRESS["gz"](tar(entry("x", bytes(80 << 20)))), "times as large"),
    "no archive": (b"<html>", "a web page"),
    "damaged": (COMPRESS["gz"](tar(entry("x", os.urandom(5000))))[:-2000], "cut short|damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_keeps_nothing(runs: Runs, server: FileServer, name: str) -> None:
    archive, problem = HOSTILE[name]
    server.answers = [lambda exchange: exchange.send(200, archive)]
    with pytest.raises(TaskFailed, match=problem) as caught:
        runs.read(url=server.url(), sha256=hashlib.sha256(archive).hexdigest(), unpack=True)
    assert caught.value.reason == "source-refused", "the worker tells it by the mount"
    assert runs.kept() == []
    assert not (runs.home / "out").exists()


def test_a_private_download_is_for_those_who_have_its_token(runs: Runs, server: FileServer) -> None:
    """Without it, the checksum would be enough to read it from the cache."""

    def answer(exchange: Exchange) -> None:
        allowed = exchange.headers.get("authorization") == "Bearer token-5e1f"
        exchange.send(200 if allowed else 403, DATA if allowed else b"")

    server.answers = [answer]
    assert runs.read(url=server.url(), sha256=SUM, token=Secret(literal="token-5e1f")) == DATA
    for token in (None, Secret(literal="another")):
        with pytest.raises(TaskFailed, match="403"):
            runs.read(url=server.url(), sha256=SUM, token=token)


def test_credentials_in_a_url_are_masked(runs: Runs, server: FileServer) -> None:
    server.answers = [lambda exchange: exchange.send(200, DATA)]
    url = server.url().replace("http://", "http://ann:password-77c2@") + "?signature=s1gnature"
    runs.read(url=url, sha256=SUM)
    runs.log.say("a program prints password-77c2")
    assert "password-77c2" not in runs.log.text
    assert "s1gnature" not in runs.log.text


def test_the_log_says_where_the_content_of_a_mount_comes_from(runs: Runs, server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    runs.options = SourceOptions(files=(str(tmp_path),))
    server.answers = [lambda exchange: exchange.send(200, DATA)]
    runs.read(content="a text")
    runs.read(file=str(tmp_path / "data"))
    for _ in range(2):  # the second run finds it, and says nothing
        runs.read(url=f"{server.url()}?signature=s1gnature", sha256=SUM)
    assert runs.log.text.splitlines() == [
        "[taskrunner] mounts: writing a text of the task",
        f'[taskrunner] mounts: copying "{tmp_path / "data"}"',
        f"[taskrunner] mounts: downloading {server.url()}",
        f"[taskrunner] mounts: downloaded {len(DATA)} bytes",
    ]


def test_one_that_gives_up_leaves_the_download_to_the_next(runs: Runs, server: FileServer) -> None:
    server.answers = [Exchange.stall, lambda exchange: exchange.send(200, DATA)]

    async def main() -> None:
        first = asyncio.create_task(runs.provide(url=server.url(), sha256=SUM))
        assert await asyncio.to_thread(server.asked.acquire, timeout=60)
        second = asyncio.create_task(runs.provide(url=server.url(), sha256=SUM))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert first.cancelled()
        content = await second
        assert content.path.read_bytes() == DATA
        await content.release()

    asyncio.run(main())
    assert server.left.wait(60)
    assert len(runs.kept()) == 2


FILLING = """
    import asyncio, sys
    from pathlib import Path
    from taskrunner.content.origin import UrlOrigin
    from tests.content.conftest import Runs

    async def save(self, context, target):
        target.write_bytes(b"half a file")
        print("ready", flush=True)
        await asyncio.get_running_loop().create_future()

    UrlOrigin.save = save
    asyncio.run(Runs(Path(sys.argv[1])).provide(url=sys.argv[2], sha256=sys.argv[3]))
"""


def test_a_worker_that_is_killed_in_the_middle_leaves_nothing_that_is_used(runs: Runs, server: FileServer) -> None:
    server.answers = [lambda exchange: exchange.send(200, DATA)]
    run_until_ready_and_kill(FILLING, runs.home, server.url(), SUM)
    assert [path.read_bytes() for path in runs.kept()] == [b"half a file"]
    assert runs.read(url=server.url(), sha256=SUM) == DATA
    assert len(runs.kept()) == 2, "what the dead worker has left was removed"


def test_content_that_a_run_has_is_not_evicted(runs: Runs, server: FileServer) -> None:
    server.answers = [lambda exchange: exchange.send(200, DATA)]
    eviction = Eviction(runs.home, CacheLimits(max_size=0), lambda _: PlainFolder)

    async def main() -> None:
        content = await runs.provide(url=server.url(), sha256=SUM)
        assert await eviction.run() == 0
        await content.release()
        assert await eviction.run() == 1

    asyncio.run(main())
    assert runs.kept() == []


def test_a_text_is_for_its_run_alone(runs: Runs) -> None:
    async def main() -> None:
        one, two = await runs.provide(content="grüezi\n"), await runs.provide(content="hello", executable=True)
        assert [one.path.read_text(), two.path.read_text()] == ["grüezi\n", "hello"]
        assert (mode(one.path), mode(two.path)) == (0o444, 0o555)
        await one.release()
        await two.release()

    asyncio.run(main())
    assert runs.kept() == []


@pytest.mark.parametrize("checked", [True, False])
def test_a_file_of_this_machine_is_copied(runs: Runs, tmp_path: Path, checked: bool) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(DATA)
    runs.options = SourceOptions(files=(str(tmp_path),))
    mount = {"file": str(path), "sha256": SUM if checked else ""}
    assert runs.read(**mount) == DATA
    path.write_bytes(b"other")
    assert runs.read(**mount) == (DATA if checked else b"other")
    assert bool(runs.kept()) is checked


def test_a_file_that_is_not_allowed_any_more_is_not_read_from_the_cache(runs: Runs, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(DATA)
    runs.options = SourceOptions(files=(str(path),))
    runs.read(file=str(path), sha256=SUM)
    runs.options = SourceOptions(archives=(str(path),))
    with pytest.raises(TaskFailed, match=r"not among the paths that this worker allows \(\[source\] files in its"):
        runs.read(file=str(path), sha256=SUM)


def test_a_file_with_another_checksum(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"other")
    runs.options = SourceOptions(files=(str(tmp_path),))
    with pytest.raises(TaskFailed, match=f"and not {SUM}"):
        runs.read(file=f"{tmp_path}/x", sha256=SUM)
    assert runs.kept() == []


def test_a_server_that_is_down_is_not_the_authors_fault(runs: Runs, server: FileServer) -> None:
    server.answers = [lambda exchange: exchange.send(503, Retry_After="1000")]
    with pytest.raises(Unavailable):
        runs.read(url=server.url(), sha256=SUM)
    assert runs.kept() == []
