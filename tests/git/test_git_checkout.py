"""A checkout is what `git clone --depth 1` makes, held against it."""

from __future__ import annotations

import asyncio
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from taskrunner.errors import Complaint, MalformedPayload, TaskFailed
from taskrunner.interfaces.platform import RunContext
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import RunKey, Secret, Source, Task
from taskrunner.testing import FakeCaches, MemoryLog
from taskrunner_source import checkout, fetch_source
from tests.support.githttp import GitServer, add_submodule, commit, git, make_repository

ATTACHED = "deep/er/cache"


@attrs.define
class Run:
    """One run with a source, and the folder of its files."""

    folder: Path
    log: MemoryLog = attrs.field(factory=MemoryLog)
    caches: FakeCaches = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.caches = FakeCaches(self.folder / "caches")

    @property
    def files(self) -> Path:
        return self.folder / "files"

    def context(self, source: Source | None) -> RunContext:
        task = Task("t", "any", source=source)
        return RunContext(
            task,
            RunKey("t", 0),
            self.files,
            self.log,
            self.caches,
            lambda secret: secret.literal,
            lambda _: None,
            SourceOptions().of_operator(),
        )

    def checkout(self, url: str, ref: str = "", *, ignored: tuple[str, ...] = (), moved: bool = False) -> str:
        self.files.mkdir(exist_ok=True)
        context = self.context(Source(url, ref))
        sha = asyncio.run(checkout(context, self.files, ignored=ignored, moved=moved))
        assert self.caches.leased == []
        return sha

    def git(self, *arguments: str) -> str:
        return git(self.files, *arguments).decode()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def project(root: Path) -> Path:
    """A repository with a history, and with all that a tree can have but submodules."""
    path = root / "project"
    make_repository(path, {"old": "old\n"})
    (path / "run.sh").write_text("#!/bin/sh\necho run\n")
    (path / "run.sh").chmod(0o755)
    (path / "link").symlink_to("deep/er/file")
    (path / "nowhere").symlink_to("/nonexistent/../x")
    (path / "readme").write_text("x")
    commit(path, {"deep/er/file": b"\0\1\r\n" * 50_000, "empty": "", "README": "upper\n", "Größe 1": "name\n"})
    (path / "old").unlink()
    commit(path, {"new": "new\n", "a-b": "-", "a/b": "/", "a.b": "."})
    return path


def listing(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """Modes, bytes and links of all files below a folder, but for `.git`."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] == ".git":
            continue
        mode = path.lstat().st_mode
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[name] = (mode if stat.S_ISREG(mode) else stat.S_IFMT(mode), content)
    return found


def cloned(server: GitServer, path: str, target: Path, *options: str) -> Path:
    git(target.parent, "clone", "--quiet", "--depth=1", *options, server.url(path), str(target))
    return target


def test_names_modes_links_and_bytes_are_those_of_a_clone(
    run: Run, server: GitServer, project: Path, tmp_path: Path
) -> None:
    sha = run.checkout(server.url("project"))
    assert sha == git(project, "rev-parse", "HEAD").decode().strip()
    assert listing(run.files) == listing(cloned(server, "project", tmp_path / "clone"))
    assert "checkout: 12 files" in run.log.text


@pytest.mark.parametrize(
    "command",
    [
        ["status", "--porcelain"],
        ["diff"],
        ["diff", "HEAD"],
        ["rev-parse", "HEAD"],
        ["rev-parse", "--is-shallow-repository"],
        ["log", "--format=%H %an %ae %at %s"],
        ["describe", "--always"],
        ["ls-files", "--stage"],
        ["remote", "get-url", "origin"],
        ["stash", "list"],
        ["fsck", "--strict"],
        ["show", "--stat", "HEAD"],
    ],
)
def test_git_says_the_same_as_in_a_clone(
    run: Run, server: GitServer, project: Path, tmp_path: Path, command: list[str]
) -> None:
    run.checkout(server.url("project"))
    clone = cloned(server, "project", tmp_path / "clone")
    assert run.git(*command) == git(clone, *command).decode()


def test_the_first_status_reads_no_file(run: Run, server: GitServer, project: Path) -> None:
    """Each file has the size, time and inode of the index: git would find no change of contents that keeps them."""
    run.checkout(server.url("project"))
    file = run.files / "new"
    before = file.stat()
    index = (run.files / ".git" / "index").read_bytes()
    assert run.git("status", "--porcelain") == ""
    assert (run.files / ".git" / "index").read_bytes() == index, "git had nothing to refresh"
    assert before.st_mtime_ns == file.stat().st_mtime_ns


def test_a_copy_that_was_moved_is_clean_without_reading_it(run: Run, server: GitServer, project: Path) -> None:
    run.checkout(server.url("project"), moved=True)
    copied = Path(shutil.copytree(run.files, run.folder / "copy", symlinks=True))
    index = (copied / ".git" / "index").read_bytes()
    assert git(copied, "status", "--porcelain") == b""
    assert (copied / ".git" / "index").read_bytes() == index


def test_a_change_is_seen(run: Run, server: GitServer, project: Path) -> None:
    run.checkout(server.url("project"), moved=True)
    (run.files / "new").write_text("NEW\n")
    (run.files / "run.sh").chmod(0o644)
    (run.files / "other").write_text("")
    assert run.git("status", "--porcelain").splitlines() == [" M new", " M run.sh", "?? other"]


def test_work_goes_on_from_it(run: Run, server: GitServer, project: Path) -> None:
    """Commits, branches and a fetch of the whole history."""
    run.checkout(server.url("project"))
    git(run.files, "switch", "--quiet", "--create", "topic")
    commit(run.files, {"more": "more\n"})
    run.git("fetch", "--quiet", "--unshallow")
    assert run.git("rev-list", "--count", "HEAD").strip() == "4"
    run.git("fsck", "--strict")


def test_the_first_commit_of_a_repository_is_not_shallow(run: Run, server: GitServer, root: Path) -> None:
    make_repository(root / "one", {"file": "x"})
    run.checkout(server.url("one"))
    assert run.git("rev-parse", "--is-shallow-repository").strip() == "false"
    run.git("fsck", "--strict")


def test_paths_of_the_worker_are_ignored(run: Run, server: GitServer, project: Path) -> None:
    run.checkout(server.url("project"), ignored=(".tmp", ATTACHED, "with [odd] *"))
    for name in (".tmp", "with [odd] *"):
        (run.files / name).mkdir()
        (run.files / name / "x").write_text("")
    (run.files / ATTACHED).symlink_to("/tmp")
    assert run.git("status", "--porcelain") == ""


def test_credentials_are_in_no_file(run: Run, locked: GitServer, root: Path) -> None:
    make_repository(root / "web", {"file": "x"})
    assert locked.token
    run.files.mkdir()
    source = Source(locked.url("web"), token=Secret(literal=locked.token))
    asyncio.run(checkout(run.context(source), run.files))
    assert run.git("remote", "get-url", "origin").strip() == locked.url("web")
    for path in run.files.rglob("*"):
        assert not path.is_file() or locked.token.encode() not in path.read_bytes()


def test_a_mirror_belongs_to_the_credentials_that_filled_it(run: Run, locked: GitServer, root: Path) -> None:
    """A task without the token cannot read the commit from the mirror, though it knows its id."""
    sha = make_repository(root / "web", {"file": "x"})
    assert locked.token
    good = Source(locked.url("web"), sha, token=Secret(literal=locked.token))
    run.files.mkdir()
    asyncio.run(checkout(run.context(good), run.files))
    for token in (None, Secret(literal="wrong")):
        with pytest.raises(TaskFailed, match="token"):
            asyncio.run(fetch_source(run.context(attrs.evolve(good, token=token))))


def test_a_task_without_source_is_told_what_to_write(run: Run) -> None:
    with pytest.raises(MalformedPayload) as refused:
        asyncio.run(fetch_source(run.context(None)))
    (complaint,) = refused.value.complaints
    assert complaint == Complaint(
        "source", "is missing", 'say where the files come from: [source] repository = "https://…"'
    )


@pytest.mark.parametrize(
    ("submodules", "present"), [(True, {"lib", "more"}), (False, set()), (("lib",), {"lib"}), ((), set())]
)
def test_submodules_are_all_none_or_some(
    run: Run, root: Path, submodules: bool | tuple[str, ...], present: set[str]
) -> None:
    """Their folders are there in any case, and git finds the checkout clean."""
    make_repository(root / "part", {"file": "x"})
    make_repository(root / "whole", {"README": "x"})
    for name in ("lib", "more"):
        git(root / "whole", "submodule", "--quiet", "add", str(root / "part"), name)
    commit(root / "whole", {})
    run.files.mkdir()
    asyncio.run(checkout(run.context(Source(str(root / "whole"), submodules=submodules)), run.files))
    assert {name for name in ("lib", "more") if (run.files / name / "file").exists()} == present
    assert (run.files / "lib").is_dir()
    assert (run.files / "more").is_dir()
    assert run.git("status", "--porcelain") == ""


def tree_of(repository: Path, *lines: str) -> None:
    """Commits a tree that git itself would not make."""
    entries = b""
    for line in lines:
        mode, sha, name = line.split(" ", 2)
        entries += f"{mode} {name}\0".encode() + bytes.fromhex(sha)
    (repository / "raw").write_bytes(entries)
    tree = git(repository, "hash-object", "-t", "tree", "--literally", "-w", "raw").decode().strip()
    made = git(repository, "commit-tree", tree, "-m", "hostile").decode().strip()
    git(repository, "update-ref", "refs/heads/main", made)


def blob(repository: Path, text: str) -> str:
    (repository / "raw").write_text(text)
    return git(repository, "hash-object", "-w", "raw").decode().strip()


def folder(repository: Path, name: str, text: str) -> str:
    sha = blob(repository, text)
    (repository / "raw").write_bytes(f"100644 {name}\0".encode() + bytes.fromhex(sha))
    return git(repository, "hash-object", "-t", "tree", "--literally", "-w", "raw").decode().strip()


Hostile = Callable[[Path], list[str]]

HOSTILE: list[tuple[str, Hostile, str]] = [
    ("a link and a folder of one name", lambda r: [f"120000 {blob(r, '/tmp')} a", f"40000 {folder(r, 'x', 'x')} a"],
     "two files or folders of the commit have the name 'a'"),
    ("two files of one name", lambda r: [f"100644 {blob(r, '1')} a", f"100644 {blob(r, '2')} a"], "have the name 'a'"),
    ("git", lambda r: [f"40000 {folder(r, 'config', 'x')} .git"], "forbidden name"),
    ("GIT", lambda r: [f"40000 {folder(r, 'config', 'x')} .GiT"], "forbidden name"),
    ("git below", lambda r: [f"40000 {folder(r, '.giT', 'x')} a"], "forbidden name"),
    ("git as a link", lambda r: [f"120000 {blob(r, '/tmp')} .Git"], "forbidden name"),
    ("git for macOS", lambda r: [f"100644 {blob(r, 'x')} .g\u200cit"], "that macOS takes for .git"),
    ("dots", lambda r: [f"40000 {folder(r, 'x', 'x')} .."], "forbidden name"),
    ("a slash", lambda r: [f"100644 {blob(r, 'x')} a/../../b"], "forbidden name"),
    ("a long name", lambda r: [f"100644 {blob(r, 'x')} {'n' * 300}"], "has a name of more than 255 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "make", "problem"), HOSTILE, ids=[what for what, _, _ in HOSTILE])
def test_a_hostile_tree_is_refused(run: Run, root: Path, what: str, make: Hostile, problem: str) -> None:
    make_repository(root / "bad", {"file": "x"})
    tree_of(root / "bad", *make(root / "bad"))
    with pytest.raises(TaskFailed, match=problem):
        run.checkout(str(root / "bad"))
    assert run.caches.leased == []
    assert not (run.folder / "b").exists()


def test_twins_of_case_are_two_files(run: Run, server: GitServer, root: Path) -> None:
    make_repository(root / "twins", {"file": "x", "File": "y", "FILE/a": "z"})
    run.checkout(server.url("twins"))
    assert sorted(path.name for path in run.files.iterdir()) == [".git", "FILE", "File", "file"]


def test_a_cancelled_checkout_releases_its_mirror(run: Run, server: GitServer, project: Path) -> None:
    async def scene() -> None:
        run.files.mkdir()
        going = asyncio.create_task(checkout(run.context(Source(server.url("project"))), run.files))
        while not (run.files / ".git").exists() and not going.done():  # noqa: ASYNC110  a thread writes
            await asyncio.sleep(0)
        going.cancel()
        await asyncio.wait([going])

    asyncio.run(scene())
    assert run.caches.leased == []


# ---- tags, submodules and packs ---------------------------------------------------------------------------


def described(repository: Path) -> str:
    return git(repository, "describe", "--tags").decode().strip()


@pytest.mark.parametrize("annotated", [True, False])
@pytest.mark.parametrize("ref", ["v1", "refs/tags/v1", "main", "", "id"])
def test_git_describes_a_tagged_commit(
    run: Run, server: GitServer, project: Path, ref: str, *, annotated: bool
) -> None:
    """As after a shallow clone; for an id, of which git makes no clone, as for a branch."""
    sha = git(project, "rev-parse", "main").decode().strip()
    git(project, "tag", *(["--annotate", "--message=x"] if annotated else []), "v1")
    git(project, "tag", "other", "main~1")
    run.checkout(server.url("project"), sha if ref == "id" else ref)
    assert described(run.files) == "v1"
    assert run.git("tag") == "v1\n"
    assert run.git("rev-parse", "v1") == git(project, "rev-parse", "v1").decode()
    run.git("fsck", "--strict")
    assert run.git("status", "--porcelain") == ""
    if ref not in {"id", "refs/tags/v1"}:
        branch = ["--branch", ref] if ref else []
        git(run.folder, "clone", "--quiet", "--depth=1", *branch, server.url("project"), "clone")
        assert described(run.folder / "clone") == "v1"


def test_git_describes_a_commit_that_is_tagged_later_or_no_more(run: Run, server: GitServer, project: Path) -> None:
    def tags() -> list[str]:
        shutil.rmtree(run.files, ignore_errors=True)
        run.checkout(server.url("project"), "main")
        return run.git("tag").split()

    assert tags() == []
    git(project, "tag", "--annotate", "--message=x", "v1")
    git(project, "tag", "--annotate", "--message=x", "of-tag", "v1")
    assert tags() == ["of-tag", "v1"]
    git(project, "tag", "--delete", "of-tag")
    git(project, "tag", "--force", "v1", "main~1")
    git(project, "tag", "v2")
    assert tags() == ["v2"]
    sha = git(project, "rev-parse", "main").decode().strip()
    server.requests.clear()
    shutil.rmtree(run.files)
    run.checkout(server.url("project"), sha)
    assert (run.git("tag").split(), server.requests) == (["v2"], []), "by the id, without asking the server"


@pytest.fixture
def nested(root: Path) -> Path:
    """A repository with a submodule of an odd name, which has another one within."""
    leaf = make_repository(root / "leaf", {"leaf": "leaf\n"})
    git(root / "leaf", "tag", "leaf-1")
    make_repository(root / "part", {"file": "part\n"})
    add_submodule(root / "part", "in/leaf", "../leaf", leaf)
    git(root / "part", "tag", "--annotate", "--message=x", "part-1")
    make_repository(root / "whole", {"README": "x"})
    part = git(root / "part", "rev-parse", "main").decode().strip()
    add_submodule(root / "whole", "lib", "../part", part)
    text = (root / "whole" / ".gitmodules").read_text().replace('"lib"', r'"a \"b\\c"')
    (root / "whole" / ".gitmodules").write_text(text)
    git(root / "whole", "add", ".gitmodules")
    git(root / "whole", "commit", "--quiet", "--message=x")
    return root / "whole"


def test_a_submodule_is_a_repository(run: Run, server: GitServer, nested: Path) -> None:
    run.checkout(server.url("whole"), "main")
    status = [line.split() for line in run.git("submodule", "status", "--recursive").splitlines()]
    assert [(len(line[0]), line[1]) for line in status] == [(40, "lib"), (40, "lib/in/leaf")], "no `-`, `+` or `U`"
    assert run.git("status", "--porcelain") == ""
    for path, tag in (("lib", "part-1"), ("lib/in/leaf", "leaf-1")):
        assert described(run.files / path) == tag
        assert git(run.files / path, "status", "--porcelain") == b""
        git(run.files / path, "fsck", "--strict")
    (run.files / "lib/file").write_text("changed")
    assert run.git("status", "--porcelain") == " M lib\n"
    assert git(run.files / "lib", "remote", "get-url", "origin").decode().strip() == server.url("part")
    assert run.git("config", 'submodule.a "b\\c.active').strip() == "true"


def test_a_git_folder_changes_no_time(run: Run, server: GitServer, nested: Path) -> None:
    run.checkout(server.url("whole"), "main")
    for folder in (run.files / "lib", run.files / "lib/in"):
        assert folder.stat().st_mtime_ns == (run.files / "README").stat().st_mtime_ns


def mirror_of(run: Run) -> Path:
    [config] = run.caches.folder.glob("**/config")
    return config.parent


def packed(folder: Path) -> list[Path]:
    return list(folder.glob("objects/pack/*.pack"))


def ids(repository: Path) -> set[str]:
    return set(git(repository, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").decode().split())


def test_a_checkout_never_has_the_files_of_the_mirror_itself(run: Run, server: GitServer, project: Path) -> None:
    """A task may write into its own `.git`: the same user, or root, could write through a hard link."""
    run.checkout(server.url("project"), "main")
    mirror = mirror_of(run)
    [ours], [theirs] = packed(run.files / ".git"), packed(mirror)
    assert ours.read_bytes() == theirs.read_bytes(), "a first fetch has this commit alone, and is copied whole"
    for path in (run.files / ".git").rglob("*"):
        assert not path.is_file() or path.stat().st_nlink == 1
    ours.chmod(0o600)
    ours.write_bytes(b"changed")
    assert git(mirror, "fsck", "--full", "--strict", "--no-dangling") == b""


def test_a_checkout_has_no_object_of_another_commit(run: Run, server: GitServer, project: Path) -> None:
    """The mirror has deltas between the files of two commits, and the base of one is in the other alone."""
    text = "".join(f"line {n}\n" for n in range(3000))
    commit(project, {"text": text})
    run.checkout(server.url("project"), "main")
    shutil.rmtree(run.files)
    commit(project, {"text": text.replace("line 7\n", "line seven\n"), "same": text})
    git(project, "tag", "v2")
    run.checkout(server.url("project"), "main")
    assert len(packed(mirror_of(run))) == 2
    git(run.folder, "clone", "--quiet", "--depth=1", server.url("project"), "clone")
    assert ids(run.files) == ids(run.folder / "clone")
    run.git("fsck", "--full", "--strict")
    assert (run.files / "text").read_text().splitlines()[7] == "line seven"
