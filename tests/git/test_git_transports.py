"""Every transport: a path, git's own protocol, ssh; and where credentials must not appear."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailed, TaskrunnerError, Unavailable
from taskrunner_git.remote import parse_url
from tests.git.conftest import Fetcher
from tests.support.githttp import GIT_ENV, GitServer, commit, make_repository

TOKEN = "the-t0ken/with+odd=signs"
FAKE_SSH = """#!/bin/sh
# Answers as ssh does, by running the command here. Its environment is logged, and has nothing to say where.
SSH_LOG="${0%/bin/ssh}/ssh.log"
env > "$SSH_LOG.env"
echo "$*" >> "$SSH_LOG"
case "$*" in
  *refused.example*) echo "ssh: connect to host refused.example port 22: Connection refused" >&2; exit 255;;
  *locked.example*) echo "git@locked.example: Permission denied (publickey)." >&2; exit 255;;
  *hangs.example*) echo $$ > "$SSH_LOG.pid"; exec sleep 600;;
esac
for last; do :; done
exec sh -c "$last"
"""


@pytest.fixture
def web(root: Path) -> Path:
    make_repository(root / "web", {"a": "1\n"})
    return root / "web"


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts an `ssh` on the PATH that needs no other machine; returns the file that logs its arguments."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(FAKE_SSH)
    program.chmod(0o755)
    for name, value in GIT_ENV.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path / "ssh.log"


@pytest.fixture
def daemon(root: Path) -> Iterator[int]:
    """A `git daemon`; returns its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        "git",
        "daemon",
        "--export-all",
        "--reuseaddr",
        "--listen=127.0.0.1",
        f"--port={port}",
        f"--base-path={root}",
    ]
    with subprocess.Popen(
        [*command, str(root)], env=GIT_ENV, stderr=subprocess.DEVNULL, start_new_session=True
    ) as server:
        _wait_for(port)
        yield port
        os.killpg(server.pid, 15)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "git daemon did not start"
        else:
            return


@pytest.mark.parametrize("prefix", ["", "file://", "file://localhost"])
def test_a_path_on_this_machine(prefix: str, web: Path, fetcher: Fetcher) -> None:
    assert fetcher.files(f"{prefix}{web}") == {"a": b"1\n"}
    commit(web, {"a": "2\n"})
    assert fetcher.files(f"{prefix}{web}", "main") == {"a": b"2\n"}


def test_a_path_without_a_repository(tmp_path: Path, fetcher: Fetcher) -> None:
    with pytest.raises(TaskFailed, match="was not found, or is no git repository"):
        fetcher.sha(str(tmp_path / "nothing"))


def test_a_missing_commit_at_a_path(web: Path, fetcher: Fetcher) -> None:
    with pytest.raises(TaskFailed, match=r"has no commit .00112233"):
        fetcher.sha(str(web), "00112233445566778899" * 2)


def test_gits_own_protocol(web: Path, daemon: int, fetcher: Fetcher) -> None:
    assert fetcher.files(f"git://127.0.0.1:{daemon}/web") == {"a": b"1\n"}
    with pytest.raises(TaskFailed, match=r"clone: git://127.0.0.1:\d+/nothing was not found"):
        fetcher.sha(f"git://127.0.0.1:{daemon}/nothing")


def test_ssh_never_asks(web: Path, ssh: Path, fetcher: Fetcher) -> None:
    assert fetcher.files(f"ssh://git@example.org:2222{web}", token=TOKEN) == {"a": b"1\n"}
    assert fetcher.files(f"git@example.org:{web}", token=TOKEN) == {"a": b"1\n"}
    calls = ssh.read_text()
    assert calls.count("-o BatchMode=yes") == 2
    assert f"-p 2222 git@example.org git-upload-pack '{web}'" in calls
    assert TOKEN not in calls


def test_ssh_and_git_get_nothing_of_the_workers_environment(
    web: Path, ssh: Path, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", TOKEN)
    monkeypatch.setenv("GIT_SSH_COMMAND", f"touch {web}/no")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    assert fetcher.files(f"git@example.org:{web}") == {"a": b"1\n"}
    names = {line.partition("=")[0] for line in ssh.with_name("ssh.log.env").read_text().splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} <= {
        "PATH",
        "HOME",
        "LANG",
        "SSH_AUTH_SOCK",
        "GIT_PROTOCOL",
        "LC_ALL",
    }
    assert "SSH_AUTH_SOCK" in names


def test_the_local_git_gets_no_agent_and_no_secret(
    web: Path, ssh: Path, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ssh.with_name("bin") / "git"
    git.write_text(f'#!/bin/sh\nenv > "{ssh}.env"\nPATH="${{PATH#*:}}" exec git "$@"\n')
    git.chmod(0o755)
    monkeypatch.setenv("REGISTRY_PASSWORD", TOKEN)
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    assert fetcher.files(str(web)) == {"a": b"1\n"}
    text = ssh.with_name("ssh.log.env").read_text()
    assert "PATH=" in text
    assert not {"SSH_AUTH_SOCK", "REGISTRY_PASSWORD"} & {line.partition("=")[0] for line in text.splitlines()}


def test_a_path_over_ssh_is_quoted(root: Path, ssh: Path, fetcher: Fetcher) -> None:
    make_repository(root / "it's;touch$HOME", {"a": "1\n"})
    assert fetcher.files(f"git@example.org:{root}/it's;touch$HOME") == {"a": b"1\n"}


def test_ssh_without_a_connection_or_access(ssh: Path, fetcher: Fetcher) -> None:
    with pytest.raises(Unavailable, match="Connection refused"):
        fetcher.sha("git@refused.example:web.git")
    with pytest.raises(TaskFailed, match="Permission denied"):
        fetcher.sha("git@locked.example:web.git")


def test_a_cancelled_fetch_leaves_no_ssh_behind(ssh: Path, fetcher: Fetcher) -> None:
    pid = asyncio.run(_cancel_ssh(ssh, fetcher))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def _cancel_ssh(ssh: Path, fetcher: Fetcher) -> int:
    file = ssh.with_name("ssh.log.pid")
    os.mkfifo(file)
    fetching = asyncio.create_task(fetcher.fetch("git@hangs.example:web.git"))
    pid = await run_blocking(file.read_text, limit=30, doing="reading the id of ssh")
    fetching.cancel()
    await asyncio.wait([fetching], timeout=30)
    assert fetching.cancelled()
    return int(pid)


# ---- the token --------------------------------------------------------------------------------------------


def all_texts(error: BaseException | None) -> str:
    """All texts of an error and of its causes."""
    found = []
    while error is not None:
        found += [str(error), repr(error), repr(error.args)]
        error = error.__cause__ or error.__context__
    return "\n".join(found)


@pytest.mark.parametrize(
    ("path", "ref", "wrong"),
    [("web", "main", False), ("web", "mian", False), ("web", "main", True), ("nothing", "main", False)],
)
def test_the_token_appears_nowhere(  # noqa: PLR0917  fixtures and parameters
    path: str, ref: str, wrong: bool, web: Path, root: Path, fetcher: Fetcher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    texts = ""
    chained: list[object] = []
    with GitServer(root, token="another" if wrong else TOKEN) as server:
        for url, token in [
            (server.url(path), TOKEN),
            (f"http://me:the-t0ken%2Fwith+odd=signs@127.0.0.1:{server.port}/{path}", None),
        ]:
            try:
                fetcher.sha(url, ref, token)
            except TaskrunnerError as error:
                texts += all_texts(error)
                chained.append((error.__cause__, error.__context__))
    assert chained == [(None, None)] * len(chained)
    assert len(chained) == (0 if (path, ref, wrong) == ("web", "main", False) else 2)
    texts += caplog.text + "\n".join(fetcher.lines) + "".join(map(repr, fetcher.progress))
    kept = b"".join(file.read_bytes() for file in fetcher.mirror.rglob("*") if file.is_file())
    for form in ("t0ken", "dGhlLXQwa2Vu", "OnRoZS10MGtlb"):
        assert form not in texts
        assert form.encode() not in kept
    assert "t0ken" not in repr(parse_url(f"https://me:{TOKEN.replace('/', '%2F')}@host/x"))


def test_the_token_does_not_follow_a_redirect_to_another_host(web: Path, root: Path, fetcher: Fetcher) -> None:
    with GitServer(root, token=TOKEN) as other, GitServer(root) as first:
        first.redirect = other.url("")
        with pytest.raises(TaskFailed, match="refused the token"):
            fetcher.sha(first.url("web"), token=TOKEN)
        assert len(other.requests) == 1
        other.token = None
        assert fetcher.files(first.url("web"), token=TOKEN) == {"a": b"1\n"}
