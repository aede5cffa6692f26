"""Servers that send too much: each limit of the configuration, its message, and what is left on the disk."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import random
import subprocess
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from taskrunner.errors import TaskFailed, TaskrunnerError, Unavailable
from taskrunner.interfaces.source import SourceLimits
from tests.git.conftest import Fetcher
from tests.support.githttp import GIT_ENV, GitServer, commit, git, make_repository
from tests.support.hostile_git import (
    TIP,
    Client,
    HostileServer,
    Script,
    forever,
    head,
    line,
    number,
    object_id,
    pack_of,
    ref_delta,
    whole,
)
from tests.support.small_server import QuietHandler, host_of, small_server

MIB = 1 << 20
NOISE = random.Random(1).randbytes(MIB)  # noqa: S311  no secret


@contextmanager
def memory(most: int) -> Iterator[None]:
    """Holds the memory that is taken in the block to a limit."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def on_disk(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def refused(fetcher: Fetcher, script: Script, setting: str, limits: SourceLimits, most: int = 8 * MIB) -> str:
    """The message of a fetch from such a server, which takes little memory, and leaves nothing on the disk."""
    fetcher.limits = limits
    with HostileServer(script) as server, memory(most), pytest.raises(TaskFailed) as caught:
        fetcher.sha(server.url, "main")
    assert on_disk(fetcher.mirror) < 10_000
    assert f"`{setting}` in [source.limits]" in str(caught.value)
    return str(caught.value).replace(server.url, "URL")


def endless_pack(client: Client) -> None:
    client.serve(forever(b"PACK\0\0\0\2\xff\xff\xff\xff" + NOISE))


def endless_blob(client: Client) -> None:
    begin = b"PACK\0\0\0\2\0\0\0\1" + head(3, 10**12) + b"\x78\x01"
    client.serve(itertools.chain([begin], forever(b"\0\xff\xff\0\0" + bytes(65535))))


@pytest.mark.parametrize("script", [endless_pack, endless_blob])
def test_an_endless_pack(script: Script, fetcher: Fetcher) -> None:
    fetcher.limits = SourceLimits(pack_size=4 * MIB)
    with HostileServer(script) as server, pytest.raises(TaskrunnerError):
        fetcher.sha(server.url, "main")
    assert server.gone.acquire(timeout=30), "the connection is closed"
    assert on_disk(fetcher.mirror) < 10_000


def test_a_pack_over_its_limit(fetcher: Fetcher) -> None:
    def script(client: Client) -> None:
        client.serve(itertools.chain([b"PACK\0\0\0\2\0\0\xff\xff"], forever(whole(3, NOISE[:50_000]))))

    assert refused(fetcher, script, "pack_size", SourceLimits(pack_size=4 * MIB)) == (
        "clone: URL: the pack has more than 4194304 bytes; the worker's configuration sets this limit: "
        "`pack_size` in [source.limits]"
    )


def endless_refs(client: Client) -> None:
    client.greet()
    client.send_refs(f"{TIP} refs/heads/main{n}\n".encode() for n, _ in enumerate(forever(b"")))


def endless_long_refs(client: Client) -> None:
    client.greet()
    client.send_refs(f"{TIP} refs/heads/{n}{'x' * 60_000}\n".encode() for n, _ in enumerate(forever(b"")))


def endless_capabilities(client: Client) -> None:
    client.request()
    client.send(line(b"version 2\n"))
    for _ in forever(b""):
        client.send(line(b"session-id=x\n"))


def endless_old_refs(client: Client) -> None:
    client.request()
    client.send(line(f"{TIP} HEAD\0multi_ack side-band-64k shallow\n".encode()))
    for n, _ in enumerate(forever(b"")):
        client.send(line(f"{TIP} refs/heads/main{n}\n".encode()))


def endless_shallow_lines(client: Client) -> None:
    client.greet()
    client.send_refs()
    client.request()
    client.send(line(b"shallow-info\n"))
    for n, _ in enumerate(forever(b"")):
        client.send(line(f"shallow {n:040x}\n".encode()))


@pytest.mark.parametrize(
    "script", [endless_refs, endless_capabilities, endless_old_refs, endless_shallow_lines], ids=lambda s: s.__name__
)
def test_endless_lines_before_the_pack(script: Script, fetcher: Fetcher) -> None:
    assert refused(fetcher, script, "refs", SourceLimits(refs=5000)).startswith(
        "clone: URL: the list of branches and tags has more than 5000 lines; "
    )


def test_endless_long_refs(fetcher: Fetcher) -> None:
    message = refused(fetcher, endless_long_refs, "refs_size", SourceLimits(refs_size=MIB))
    assert "has more than 1048576 bytes; " in message


def large_delta(client: Client) -> None:
    """A few bytes that describe 64 MiB."""
    base = bytes(MIB)
    copies = b"\xf0\xff\xff\xff"[:1] + b"\xff\xff\x0f"  # from the begin, 0x0fffff bytes
    delta = number(MIB) + number(64 * 0x0FFFFF) + copies * 64
    client.serve([pack_of(whole(3, base), ref_delta(object_id(b"blob", base), delta))])


def chain(length: int, size: int) -> bytes:
    """A pack in which every object is another delta of `size` inflated bytes, which are a few bytes in the pack."""
    base, objects = b"x" * size, [whole(3, b"x" * size)]
    for n in range(length):
        data = (b"%08d" % n + b"y" * size)[:size]
        pieces = [data[at : at + 127] for at in range(0, size, 127)]
        delta = number(size) + number(size) + b"".join(bytes([len(piece)]) + piece for piece in pieces)
        objects.append(ref_delta(object_id(b"blob", base), delta))
        base = data
    return pack_of(*objects)


def test_a_delta_that_describes_an_object_larger_than_the_memory(fetcher: Fetcher) -> None:
    message = refused(fetcher, large_delta, "object_memory", SourceLimits(object_memory=8 * MIB), 32 * MIB)
    assert "an object, with the deltas that it is made from, has more than 8388608 bytes; " in message


def test_a_chain_of_deltas_that_unpacks_to_gigabytes(fetcher: Fetcher) -> None:
    data = chain(40, MIB)
    assert len(data) < 400_000
    limits = SourceLimits(unpacked_size=16 * MIB)
    message = refused(fetcher, lambda client: client.serve([data]), "unpacked_size", limits, 16 * MIB)
    assert "what the pack unpacks to has more than 16777216 bytes; " in message


def test_a_chain_whose_deltas_are_not_all_held_at_once(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from its end, all deltas of the chain are needed at once."""
    monkeypatch.setattr("taskrunner_git.packs.objects._KEPT_BASES", 100_000)
    data = chain(40, MIB)
    limits = SourceLimits(object_memory=8 * MIB)
    refused(fetcher, lambda client: client.serve([data]), "object_memory", limits, 32 * MIB)


@pytest.mark.parametrize("kind", [1, 2, 4, 7])
def test_an_object_other_than_a_file_of_terabytes(kind: int, fetcher: Fetcher) -> None:
    base = bytes(20) if kind == 7 else b""

    def script(client: Client) -> None:
        client.serve(itertools.chain([b"PACK\0\0\0\2\0\0\0\1" + head(kind, 10**12) + base], forever(NOISE)))

    refused(fetcher, script, "object_memory", SourceLimits(object_memory=MIB))


def keepalives(client: Client) -> None:
    client.greet()
    client.send_refs()
    client.begin_pack()
    wait = threading.Event()
    for _ in forever(b""):
        client.send(line(b"\x02still counting\n") + line(b"\x01"))
        wait.wait(0.01)


def single_bytes(client: Client) -> None:
    client.greet()
    client.send_refs()
    client.begin_pack()
    client.send(b"ea60\x01")
    wait = threading.Event()
    for _ in forever(b""):
        client.send(b"P")
        wait.wait(0.01)


@pytest.mark.parametrize("script", [keepalives, single_bytes], ids=lambda script: script.__name__)
def test_a_server_that_sends_nothing_that_is_needed(script: Script, fetcher: Fetcher) -> None:
    fetcher.limits = SourceLimits(stall_time=0.5)
    with HostileServer(script) as server:
        with pytest.raises(Unavailable) as caught:
            fetcher.sha(server.url, "main")
        assert server.gone.acquire(timeout=30), "the thread has ended, and its connection"
    assert str(caught.value) == (
        "clone: the server has sent nothing that is needed for 0.5 s; the worker's configuration sets this limit: "
        "`stall_time` in [source.limits]"
    )


# ---- HTTP -------------------------------------------------------------------------------------------------


@contextmanager
def http(answer: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with small_server(answer) as server:
        yield f"http://{host_of(server)}/web"


class Quiet(QuietHandler):
    def begin(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


def test_the_body_of_a_redirect_is_not_read(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    make_repository(root / "web", {"a": "1\n"})

    class Redirect(Quiet):
        def do_GET(self) -> None:
            self.begin(302, Location=server.url(self.path.lstrip("/")))
            with contextlib.suppress(ConnectionError):
                for piece in forever(NOISE):
                    self.wfile.write(piece)

    with http(Redirect) as url, memory(16 * MIB):
        assert fetcher.files(url, "main") == {"a": b"1\n"}


def test_a_loop_of_redirects_is_called_one(fetcher: Fetcher) -> None:
    class Loop(Quiet):
        def do_GET(self) -> None:
            self.begin(302, Location=self.path, Content_Length="0")

    with http(Loop) as url, pytest.raises(TaskFailed, match=r"/web redirects more than 5 times: is it a loop\?"):
        fetcher.sha(url, "main")


def test_what_is_compressed_unasked_is_not_unpacked(fetcher: Fetcher) -> None:
    bomb = gzip.compress(bytes(64 * MIB))

    class Bomb(Quiet):
        def do_GET(self) -> None:
            kind = "application/x-git-upload-pack-advertisement"
            self.begin(200, Content_Type=kind, Content_Encoding="gzip", Content_Length=str(len(bomb)))
            self.wfile.write(bomb)

    with http(Bomb) as url, memory(8 * MIB), pytest.raises(TaskrunnerError, match=r"^clone: "):
        fetcher.sha(url, "main")


def test_endless_refs_over_http(fetcher: Fetcher) -> None:
    class Refs(Quiet):
        def do_GET(self) -> None:
            self.begin(200, Content_Type="application/x-git-upload-pack-advertisement")
            with contextlib.suppress(ConnectionError):
                self.wfile.write(line(b"# service=git-upload-pack\n") + b"0000")
                self.wfile.write(line(f"{TIP} HEAD\0multi_ack side-band-64k shallow\n".encode()))
                for n, _ in enumerate(forever(b"")):
                    self.wfile.write(line(f"{TIP} refs/heads/{n}\n".encode()))

    fetcher.limits = SourceLimits(refs=5000)
    with http(Refs) as url, memory(8 * MIB), pytest.raises(TaskFailed, match=r"more than 5000 lines; .* `refs` in"):
        fetcher.sha(url, "main")


def test_ssh_may_complain_without_an_end(tmp_path: Path, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec 1>&-\nhead -c 20000000 /dev/zero | tr '\\0' x >&2\nexit 255\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with memory(MIB), pytest.raises(TaskFailed, match=r"refused: x{100}"):
        fetcher.sha("git@example.org:web")


# ---- trees ------------------------------------------------------------------------------------------------


def tree(repository: Path, entries: bytes) -> bytes:
    """The id of a folder with these entries."""
    make = ["git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally"]
    made = subprocess.run(make, cwd=repository, env=GIT_ENV, input=entries, check=True, capture_output=True)
    return bytes.fromhex(made.stdout.decode().strip())


def commit_tree(repository: Path, root: bytes) -> None:
    made = git(repository, "commit-tree", "-m", "x", root.hex()).decode().strip()
    git(repository, "update-ref", "refs/heads/main", made)


def wide(repository: Path, sha: bytes, mode: bytes, count: int, levels: int) -> bytes:
    """Folders of folders, each with `count` names for the same one below it."""
    for _ in range(levels):
        names = sorted(b"%d" % n for n in range(count))
        sha = tree(repository, b"".join(b"%s %s\0%s" % (mode, name, sha) for name in names))
        mode = b"40000"
    return sha


@pytest.fixture
def bomb(root: Path) -> Path:
    make_repository(root / "web", {".gitmodules": '[submodule "a"]\n\tpath = a\n\turl = ../a\n', "a": "1" * 1000})
    return root / "web"


def blob(repository: Path, name: str) -> bytes:
    return bytes.fromhex(git(repository, "rev-parse", f"main:{name}").decode().strip())


def with_modules(repository: Path, inner: bytes, attributes: bytes = b"") -> bytes:
    modules = b"100644 .gitmodules\0" + blob(repository, ".gitmodules")
    return tree(repository, attributes + modules + b"40000 x\0" + inner)


def test_billions_of_submodules(bomb: Path, server: GitServer, fetcher: Fetcher) -> None:
    commit_tree(bomb, with_modules(bomb, wide(bomb, bytes.fromhex(TIP), b"160000", 4000, 3)))
    with pytest.raises(TaskFailed, match=r"more than 1000 submodules; .* `submodules` in \[source.limits\]"):
        fetcher.sha(server.url("web"), "main")


def test_submodules_behind_billions_of_files(bomb: Path, server: GitServer, fetcher: Fetcher) -> None:
    file = blob(bomb, "a")
    inner = b"".join(b"100644 %s\0%s" % (name, file) for name in sorted(b"%d" % n for n in range(4000)))
    inner += b"160000 z\0" + bytes.fromhex(TIP)
    commit_tree(bomb, with_modules(bomb, wide(bomb, tree(bomb, inner), b"40000", 100, 3)))
    fetcher.limits = SourceLimits(files=50_000)
    with pytest.raises(TaskFailed, match=r"more than 50000 files and folders; .* `files` in \[source.limits\]"):
        fetcher.sha(server.url("web"), "main")


def test_billions_of_files_whose_attributes_change(bomb: Path, server: GitServer, fetcher: Fetcher) -> None:
    commit(bomb, {"one": "* text\n", "two": "* -text\n"})
    one, two = blob(bomb, "one"), blob(bomb, "two")
    inner = wide(bomb, blob(bomb, "a"), b"100644", 100, 6)
    fetcher.limits = SourceLimits(files=50_000)
    commits = []
    for attributes in (one, two):
        root = with_modules(bomb, inner, b"100644 .gitattributes\0" + attributes)
        commits.append(git(bomb, "commit-tree", "-m", "x", root.hex()).decode().strip())
        git(bomb, "update-ref", "refs/heads/main", commits[-1])
        if attributes == one:
            fetcher.sha(server.url("web"), "main")
    with pytest.raises(TaskFailed, match=r"more than 50000 files and folders; .* `files` in \[source.limits\]"):
        fetcher.sha(server.url("web"), "main")


def test_a_million_names_of_a_large_file(bomb: Path, server: GitServer, fetcher: Fetcher) -> None:
    commit_tree(bomb, wide(bomb, blob(bomb, "a"), b"100644", 1000, 1))
    fetcher.limits = SourceLimits(files_size=500_000)
    limit = r"more than 500000 bytes; .* `files_size` in \[source.limits\]"
    with fetcher.commit(server.url("web"), "main") as source, pytest.raises(TaskFailed, match=limit):
        list(source.entries())
