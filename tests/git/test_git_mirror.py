"""The mirror: which objects are not transferred again, and how a damaged mirror is replaced."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from taskrunner.blocking import run_blocking
from taskrunner.errors import Unavailable
from taskrunner_git import fetching
from taskrunner_git.packs import mirror
from tests.git.conftest import Fetcher, noise
from tests.support.githttp import GitServer, commit, git, make_repository

SIZE = 300_000


@pytest.fixture
def web(root: Path) -> Path:
    """A repository with one file that does not compress, and many small ones."""
    files: dict[str, str | bytes] = {"random": noise(1, SIZE)}
    make_repository(root / "web", files | {f"d/{n}": f"{n}\n" for n in range(100)})
    return root / "web"


def bytes_sent(server: GitServer) -> int:
    """Since the last call."""
    size, server.sent = server.sent, 0
    return size


def test_the_next_fetch_transfers_only_new_objects(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    fetcher.sha(server.url("web"), "main")
    assert bytes_sent(server) > SIZE
    commit(web, {"d/1": "changed\n"})
    files = fetcher.files(server.url("web"), "main")
    assert bytes_sent(server) < 5000
    assert (files["d/1"], files["d/2"], len(files["random"])) == (b"changed\n", b"2\n", SIZE)


def test_a_small_change_in_a_large_file_is_transferred_as_a_delta(
    web: Path, server: GitServer, fetcher: Fetcher
) -> None:
    old = fetcher.files(server.url("web"), "main")["random"]
    bytes_sent(server)
    commit(web, {"random": old[:1000] + b"x" + old[1000:]})
    assert fetcher.files(server.url("web"), "main")["random"] == old[:1000] + b"x" + old[1000:]
    assert bytes_sent(server) < 5000


def test_the_same_commit_again_transfers_nothing(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    sha = fetcher.sha(server.url("web"), "main")
    server.requests.clear()
    bytes_sent(server)
    assert fetcher.sha(server.url("web"), "main") == sha
    assert bytes_sent(server) < 1000
    assert len(server.requests) == 2, "one for the capabilities, one for the refs"


def test_a_full_id_in_the_mirror_asks_no_server(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    sha = fetcher.sha(server.url("web"), "main")
    server.requests.clear()
    assert fetcher.sha(server.url("web"), sha) == sha
    assert server.requests == []


def test_an_older_commit_and_another_branch_are_fetched(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    first = git(web, "rev-parse", "main").decode().strip()
    commit(web, {"new": "1"})
    git(web, "checkout", "-q", "--orphan", "other")
    commit(web, {"other": "1"})
    for ref, size in [("main", 102), (first, 101), ("other", 103), ("main", 102)]:
        assert len(fetcher.files(server.url("web"), ref)) == size


def test_a_new_tag_of_a_commit_in_the_mirror(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    sha = fetcher.sha(server.url("web"), "main")
    git(web, "tag", "--annotate", "--message=x", "v1")
    assert fetcher.sha(server.url("web"), "v1") == sha
    packs = len(list(fetcher.mirror.glob("*.pack")))
    assert fetcher.sha(server.url("web"), "v1") == sha
    assert len(list(fetcher.mirror.glob("*.pack"))) == packs


def test_the_number_of_packs_is_bounded(
    web: Path, server: GitServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_MAX_PACKS", 3)
    for number in range(8):
        commit(web, {"n": f"{number}"})
        assert fetcher.files(server.url("web"), "main")["n"] == f"{number}".encode()
        assert len(list(fetcher.mirror.glob("*.pack"))) <= 3


def cut_pack(mirror: Path) -> None:
    [pack] = mirror.glob("*.pack")
    pack.write_bytes(pack.read_bytes()[:-1000])


def flip_bit(mirror: Path) -> None:
    [pack] = mirror.glob("*.pack")
    data = bytearray(pack.read_bytes())
    data[SIZE // 2] ^= 1
    pack.write_bytes(data)


def cut_index(mirror: Path) -> None:
    [index] = mirror.glob("*.index")
    index.write_bytes(index.read_bytes()[:-5])


def empty_index(mirror: Path) -> None:
    [index] = mirror.glob("*.index")
    index.write_bytes(b"")


def no_pack(mirror: Path) -> None:
    [pack] = mirror.glob("*.pack")
    pack.unlink()


def other_repository(mirror: Path) -> None:
    (mirror / "repository").write_text("taskrunner packs 1\nhttps://example.org/other\n")


def something_else(mirror: Path) -> None:
    shutil.rmtree(mirror)
    (mirror / "folder").mkdir(parents=True)
    (mirror / "folder" / "HEAD").write_text("ref: refs/heads/main\n")
    (mirror / "link").symlink_to("/nowhere")


def a_file(mirror: Path) -> None:
    shutil.rmtree(mirror)
    mirror.write_text("not a folder")


def wrong_name(mirror: Path) -> None:
    [index] = mirror.glob("*.index")
    index.rename(mirror / "x-y.index")


def half_a_fetch(mirror: Path) -> None:
    (mirror / "incoming").write_bytes(b"PACK")
    (mirror / "0001-abc.pack").write_bytes(b"PACK")


def name_is_a_folder(mirror: Path) -> None:
    (mirror / "repository").unlink()
    (mirror / "repository").mkdir()


DAMAGES = [cut_pack, flip_bit, cut_index, empty_index, no_pack, other_repository, something_else, a_file, wrong_name]


@pytest.mark.parametrize("damage", [*DAMAGES, half_a_fetch, name_is_a_folder], ids=lambda damage: damage.__name__)
def test_a_damaged_or_foreign_mirror_is_made_anew(
    damage: object, web: Path, server: GitServer, fetcher: Fetcher
) -> None:
    files = fetcher.files(server.url("web"), "main")
    assert callable(damage)
    damage(fetcher.mirror)
    assert fetcher.files(server.url("web"), "main") == files
    assert len(list(fetcher.mirror.iterdir())) == 4, "the owner, the times, a pack and its index"


def test_a_cancelled_fetch_ends_at_once_and_harms_nothing(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    before = fetcher.files(server.url("web"), "main")
    git(web, "checkout", "-q", "--orphan", "other")
    commit(web, {"random2": noise(2, 4_000_000)})
    server.stall_after = 500_000
    asyncio.run(cancel_when_stalled(server, fetcher, "other"))
    assert server.broken_pipes.acquire(timeout=30), "the server noticed that its client was gone"
    server.stall_after = None
    assert fetcher.files(server.url("web"), "main") == before
    assert len(fetcher.files(server.url("web"), "other")) == 102


def test_a_fetch_over_its_limit_ends(
    web: Path, server: GitServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_LIMIT", 0.5)
    server.stall_after = 0
    with pytest.raises(Unavailable, match=rf"^clone: fetching {server.url('web')} took longer than 0\.5 s$"):
        fetcher.sha(server.url("web"), "main")


async def cancel_when_stalled(server: GitServer, fetcher: Fetcher, ref: str) -> None:
    call = asyncio.create_task(fetcher.fetch(server.url("web"), ref))
    await run_blocking(server.stalled.wait, limit=30, doing="waiting for the server to stall")
    call.cancel()
    done, _ = await asyncio.wait([call], timeout=30)
    assert done
    assert call.cancelled()
    server.resume.set()


def test_progress_is_reported_in_bytes(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    fetcher.sha(server.url("web"), "main")
    assert {report.step for report in fetcher.progress} == {"clone"}
    assert fetcher.progress[-1].done > SIZE
    assert fetcher.lines[0] == f"clone: {server.url('web')}, main"
