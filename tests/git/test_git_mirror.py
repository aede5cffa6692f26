"""The mirror: which objects are not transferred again, and how a damaged mirror is replaced."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from dulwich.repo import Repo

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


def packs(mirror: Path) -> list[Path]:
    return list((mirror / "objects/pack").glob("*.pack"))


def index(mirror: Path) -> Path:
    [found] = (mirror / "objects/pack").glob("*.idx")
    return found


def check_by_git(mirror: Path) -> None:
    """The real git finds nothing wrong, with the packs nor with what the refs need."""
    assert git(mirror, "fsck", "--full", "--strict", "--no-dangling") == b""
    for pack in packs(mirror):
        git(mirror, "verify-pack", str(pack))


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


def test_a_mirror_is_a_repository_of_git(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    first = fetcher.sha(server.url("web"))
    commit(web, {"d/1": "changed\n"})
    second = fetcher.sha(server.url("web"), "main")
    check_by_git(fetcher.mirror)
    assert git(fetcher.mirror, "symbolic-ref", "HEAD") == b"refs/heads/main\n"
    assert git(fetcher.mirror, "rev-parse", "main", f"{first}^{{commit}}").decode().split() == [second, first]
    assert git(fetcher.mirror, "config", "remote.origin.url").decode().strip() == server.url("web")
    assert git(fetcher.mirror, "archive", "main") == git(web, "archive", "main")
    with Repo(str(fetcher.mirror)) as repository:
        assert repository[second.encode()].id == second.encode()
        assert repository.get_shallow() == {first.encode(), second.encode()}


def test_git_itself_may_fetch_and_repack_in_a_mirror(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    fetcher.sha(server.url("web"), "main")
    sha = commit(web, {"d/1": "changed\n"})
    git(fetcher.mirror, "fetch", "--quiet", "origin", f"{sha}:refs/commits/{sha}")
    git(fetcher.mirror, "pack-refs", "--all")
    server.requests.clear()
    assert fetcher.files(server.url("web"), sha)["d/1"] == b"changed\n"
    git(fetcher.mirror, "gc", "--quiet", "--prune=now")
    git(fetcher.mirror, "multi-pack-index", "write")
    assert fetcher.files(server.url("web"), sha)["d/1"] == b"changed\n"
    assert server.requests == []
    commit(web, {"d/2": "changed\n"})
    assert fetcher.files(server.url("web"), "main")["d/2"] == b"changed\n"
    check_by_git(fetcher.mirror)


def test_a_branch_in_the_place_of_a_folder_of_branches(web: Path, server: GitServer, fetcher: Fetcher) -> None:
    git(web, "branch", "a")
    fetcher.sha(server.url("web"), "a")
    git(web, "branch", "-D", "a")
    git(web, "branch", "a/b")
    fetcher.sha(server.url("web"), "a/b")
    git(web, "branch", "-D", "a/b")
    git(web, "branch", "a")
    fetcher.sha(server.url("web"), "a")
    assert git(fetcher.mirror, "branch", "--format=%(refname)") == b"refs/heads/a\n"


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
    found = packs(fetcher.mirror)
    assert fetcher.sha(server.url("web"), "v1") == sha
    assert packs(fetcher.mirror) == found
    assert git(fetcher.mirror, "cat-file", "-t", "v1") == b"tag\n"


def test_the_number_of_packs_is_bounded(
    web: Path, server: GitServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_MAX_PACKS", 3)
    monkeypatch.setattr(mirror, "_KEPT_COMMITS", 2)
    commits = []
    random = noise(1, SIZE)
    for number in range(8):
        random = random[:1000] + b"x" + random[1000:]
        commits.append(commit(web, {"n": f"{number}", "random": random}))
        git(web, "tag", f"--message={number}", f"v{number}")
        bytes_sent(server)
        files = fetcher.files(server.url("web"), f"v{number}")
        assert (files["n"], files["random"]) == (f"{number}".encode(), random)
        assert number == 0 or bytes_sent(server) < 5000, "all packs as one need no transfer"
        assert len(packs(fetcher.mirror)) <= 3
        check_by_git(fetcher.mirror)
    server.requests.clear()
    kept = [sha for sha in commits if (fetcher.mirror / "refs/commits" / sha).exists()]
    assert kept == commits[-len(kept) :]
    assert 2 <= len(kept) <= 4
    for sha in kept:
        assert fetcher.files(server.url("web"), sha)["n"] == f"{commits.index(sha)}".encode()
    assert server.requests == []
    assert git(fetcher.mirror, "tag").split() == [f"v{commits.index(sha)}".encode() for sha in kept]


def test_a_mirror_that_cannot_be_combined_is_made_anew(
    web: Path, server: GitServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_MAX_PACKS", 2)
    commit(web, {"n": "0"})
    fetcher.sha(server.url("web"), "main")
    commit(web, {"n": "1"})
    sha = fetcher.sha(server.url("web"), "main")
    (fetcher.mirror / "shallow").unlink()
    git(web, "commit", "--quiet", "--allow-empty", "--message=x")
    assert len(fetcher.files(server.url("web"), sha)) == 102
    assert [path.name for path in (fetcher.mirror / "refs/commits").iterdir()] == [sha]
    check_by_git(fetcher.mirror)


def cut_pack(mirror: Path) -> None:
    [pack] = packs(mirror)
    pack.write_bytes(pack.read_bytes()[:-1000])


def flip_bit(mirror: Path) -> None:
    [pack] = packs(mirror)
    data = bytearray(pack.read_bytes())
    data[SIZE // 2] ^= 1
    pack.write_bytes(data)


def cut_index(mirror: Path) -> None:
    index(mirror).write_bytes(index(mirror).read_bytes()[:-5])


def empty_index(mirror: Path) -> None:
    index(mirror).write_bytes(b"")


def no_pack(mirror: Path) -> None:
    [pack] = packs(mirror)
    pack.unlink()


def no_index(mirror: Path) -> None:
    index(mirror).unlink()


def no_sizes(mirror: Path) -> None:
    index(mirror).with_suffix(".sizes").unlink()


def sizes_are_a_folder(mirror: Path) -> None:
    index(mirror).with_suffix(".sizes").unlink()
    index(mirror).with_suffix(".sizes").mkdir()


def half_a_ref(mirror: Path) -> None:
    [ref] = (mirror / "refs/commits").iterdir()
    ref.write_text(ref.name[:20])


def foreign_ref(mirror: Path) -> None:
    (mirror / "refs/commits" / ("0" * 40)).write_text("0" * 40)


def junk_in_shallow(mirror: Path) -> None:
    (mirror / "shallow").write_bytes(b"\xff")


def no_refs(mirror: Path) -> None:
    shutil.rmtree(mirror / "refs")


def no_config(mirror: Path) -> None:
    (mirror / "config").unlink()


def junk_config(mirror: Path) -> None:
    (mirror / "config").write_bytes(b"[\xff")


def other_repository(mirror: Path) -> None:
    git(mirror, "config", "remote.origin.url", "https://example.org/other")


def something_else(mirror: Path) -> None:
    shutil.rmtree(mirror)
    (mirror / "folder").mkdir(parents=True)
    (mirror / "folder" / "HEAD").write_text("ref: refs/heads/main\n")
    (mirror / "link").symlink_to("/nowhere")


def a_file(mirror: Path) -> None:
    shutil.rmtree(mirror)
    mirror.write_text("not a folder")


def wrong_name(mirror: Path) -> None:
    index(mirror).rename(index(mirror).with_name("pack-x.idx"))


def half_a_fetch(mirror: Path) -> None:
    for name in ("tmp_pack_incoming", "tmp_idx_incoming", "tmp_sizes_incoming", "pack-abc.pack", "pack-abc.sizes"):
        (mirror / "objects/pack" / name).write_bytes(b"PACK")


def name_is_a_folder(mirror: Path) -> None:
    (mirror / "config").unlink()
    (mirror / "config").mkdir()


DAMAGES = [
    *(cut_pack, flip_bit, cut_index, empty_index, no_pack, no_index, no_sizes, sizes_are_a_folder, half_a_ref),
    *(foreign_ref, junk_in_shallow, no_refs, no_config, junk_config, other_repository, something_else, a_file),
    *(wrong_name, half_a_fetch, name_is_a_folder),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_or_foreign_mirror_is_made_anew(
    damage: object, web: Path, server: GitServer, fetcher: Fetcher
) -> None:
    files = fetcher.files(server.url("web"), "main")
    assert callable(damage)
    damage(fetcher.mirror)
    assert fetcher.files(server.url("web"), "main") == files
    names = {path.name for path in fetcher.mirror.iterdir()}
    assert names <= {"HEAD", "config", "objects", "refs", "shallow", "times"}
    assert len(list((fetcher.mirror / "objects/pack").iterdir())) == 3, "a pack, its index and its sizes"
    check_by_git(fetcher.mirror)


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
