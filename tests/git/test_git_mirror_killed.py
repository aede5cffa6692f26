"""Mirrors that several runs use, and those of workers that are killed in the middle of a fetch."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from taskrunner.caches.folder_caches import FolderCaches
from taskrunner.interfaces.platform import RunContext
from taskrunner.model import RunKey, Source, Task
from taskrunner.testing import FakeCacheFolder, MemoryLog
from taskrunner_source import checkout
from tests.git.conftest import Fetcher, noise
from tests.git.test_git_mirror import check_by_git
from tests.support.githttp import GitServer, commit, make_repository
from tests.support.killed import run_until_ready_and_kill

SIZE = 3_000_000

KILLED = """
    import asyncio, sys, threading
    from pathlib import Path
    from taskrunner_git import fetch
    from taskrunner_git.packs.mirror import Mirror
    from taskrunner_git.packs.mirror_refs import MirrorRefs

    url, mirror, point = sys.argv[1], Path(sys.argv[2]), sys.argv[3]

    def stop(*_, **__):
        print("ready", flush=True)
        threading.Event().wait()

    def progress(report):
        if point == "download" and report.done > 1_000_000:
            stop()

    def renamed_once(path, target, rename=Path.rename):
        rename(path, target)
        stop()

    if point == "index":
        Mirror.add_incoming = stop
    if point == "check":
        Mirror.keep_incoming = stop
    if point == "pack without index":
        Path.rename = renamed_once
    if point == "no ref":
        MirrorRefs.add_commit = stop
    asyncio.run(fetch(url, "main", token=None, mirror=mirror, say=print, progress=progress))
"""


@pytest.fixture
def web(root: Path) -> Path:
    make_repository(root / "web", {"random": noise(1, SIZE), "a": "1\n"})
    return root / "web"


@pytest.mark.parametrize("used", [False, True], ids=["empty", "used"])
@pytest.mark.parametrize("point", ["download", "index", "check", "pack without index", "no ref"])
def test_a_fetch_that_is_killed_leaves_a_mirror_that_works(
    point: str, web: Path, server: GitServer, fetcher: Fetcher, tmp_path: Path, *, used: bool
) -> None:
    if used:
        fetcher.sha(server.url("web"), "main")
        commit(web, {"random": noise(2, SIZE), "a": "2\n"})
    run_until_ready_and_kill(KILLED, server.url("web"), fetcher.mirror, point)
    files = fetcher.files(server.url("web"), "main")
    assert files == {"random": noise(2 if used else 1, SIZE), "a": b"2\n" if used else b"1\n"}
    check_by_git(fetcher.mirror)
    names = {path.suffix for path in (fetcher.mirror / "objects/pack").iterdir()}
    assert names == {".pack", ".idx", ".sizes"}, "nothing half made is left"


def context(url: str, folder: Path, caches: FolderCaches) -> RunContext:
    folder.mkdir()
    task = Task("t", "any", source=Source(url, "main"))
    return RunContext(task, RunKey("t", 0), folder, MemoryLog(), caches, lambda secret: secret.literal, lambda _: None)


def test_two_runs_at_once_and_a_third_one(web: Path, server: GitServer, tmp_path: Path) -> None:
    caches = FolderCaches(tmp_path / "caches", FakeCacheFolder)

    async def both() -> list[str]:
        contexts = [context(server.url("web"), tmp_path / name, caches) for name in ("one", "two")]
        return await asyncio.gather(*(checkout(each, each.folder) for each in contexts))

    shas = asyncio.run(both())
    shas.append(asyncio.run(checkout(context(server.url("web"), tmp_path / "three", caches), tmp_path / "three")))
    assert len(set(shas)) == 1
    for name in ("one", "two", "three"):
        assert (tmp_path / name / "random").read_bytes() == noise(1, SIZE)
    mirrors = [config.parent for config in (tmp_path / "caches").rglob("config")]
    assert 1 <= len(mirrors) <= 2
    for mirror in mirrors:
        check_by_git(mirror)
