"""Secrets: nowhere to be seen while they are used, nor afterwards."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import GIT_TOKEN, PASSWORD
from tests.support.e2e import Bench
from tests.support.gate import Gate
from tests.support.githttp import GitServer, make_repository
from tests.support.registry import Registry


def command_lines() -> str:
    """Of every process of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes().decode(errors="replace"))
    return "\n".join(lines)


@pytest.mark.parametrize("how", ["named", "literal", "in the URL"])
def test_a_token_and_a_password_are_nowhere(
    bench: Bench, private_git: GitServer, private_registry: Registry, repositories: Path, how: str
) -> None:
    repository = f"secret-{bench.token}"
    make_repository(repositories / repository, {"Dockerfile": "FROM taskrunner-base\nRUN echo a step\n"})
    host, _, port = private_registry.host.partition(":")
    url = private_git.url(repository)
    spec = {
        "named": {"repository": url, "token": {"secret": "git"}},
        "literal": {"repository": url, "token": GIT_TOKEN},
        "in the URL": {"repository": url.replace("://", f"://ann:{GIT_TOKEN}@")},
    }[how]
    bench.variables["REGISTRY_PASSWORD"] = PASSWORD
    (bench.folder / "git-token").write_text(GIT_TOKEN)
    with Gate((host, int(port)), bench.folder) as gate:
        gate.hold(rb"POST /v2/[^ ]+/blobs/uploads/")
        bench.configure(
            f'[secrets]\ngit = {{file = "{bench.folder}/git-token"}}\nregistry = {{env = "REGISTRY_PASSWORD"}}\n'
            f'[docker.registries."{gate.address}"]\nusername = "ann"\npassword = {{secret = "registry"}}\n'
        )
        tag = f"{gate.address}/team/app:{bench.token}"
        task = bench.submit(bench.build(url, build={**spec, "tags": [tag], "push": True}))
        worker = bench.worker("--max-tasks", "1")
        gate.wait_until_held()
        while_running = command_lines() + bench.command("show", task, "--json").everything
        gate.open()
        assert worker.ends() == 0
    assert bench.endings(task) == ["completed"], worker.output
    shown = [
        bench.command(*words).everything for words in (["show", task], ["show", task, "--json"], ["list", "--json"])
    ]
    assert json.loads(shown[1])["resolution"] == "completed"
    for secret in (GIT_TOKEN, PASSWORD):
        assert secret not in while_running
        assert secret not in worker.output + "".join(shown)
        inside = [name for name in bench.holding(secret) if not name.startswith("queue.db")]
        assert inside == []
    assert bench.holding(PASSWORD) == []
    if how == "named":
        assert bench.holding(GIT_TOKEN) == []
    assert (bench.home / "queue.db").stat().st_mode & 0o077 == 0
    assert bench.left() == []


def test_what_a_task_prints_of_its_secret_is_masked_everywhere(bench: Bench) -> None:
    secret = f"spoken-{bench.token}"
    bench.variables["SPOKEN"] = secret
    bench.configure('[secrets]\nspoken = {env = "SPOKEN"}\n')
    task = bench.process("echo it is $WORD; exit 3", secrets={"WORD": {"secret": "spoken"}})
    ended = bench.run(task)
    assert ended.status == 1
    assert "it is " in ended.out
    assert secret not in ended.everything
    assert bench.holding(secret) == []


def test_nobody_else_may_read_what_a_worker_keeps(bench: Bench) -> None:
    bench.run(bench.process("echo made > made.txt", artifacts=[{"name": "made.txt", "path": "made.txt"}]))
    kept = [path for path in bench.home.rglob("*") if path.is_file()]
    assert bench.home.stat().st_mode & 0o077 == 0 or all(path.stat().st_mode & 0o077 == 0 for path in kept)
    assert kept
