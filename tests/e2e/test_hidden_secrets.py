"""Secrets are visible nowhere, neither while they are used nor afterwards."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import GIT_TOKEN, PASSWORD
from tests.support.e2e import Site
from tests.support.gate import Gate
from tests.support.githttp import GitServer, make_repository
from tests.support.registry import Registry


def command_lines() -> str:
    """The command lines of every process of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes().decode(errors="replace"))
    return "\n".join(lines)


@pytest.mark.parametrize("how", ["named", "literal", "in the URL"])
def test_a_token_and_a_password_are_visible_nowhere(
    site: Site, private_git: GitServer, private_registry: Registry, repositories: Path, how: str
) -> None:
    repository = f"secret-{site.token}"
    make_repository(repositories / repository, {"Dockerfile": "FROM taskrunner-base\nRUN echo a step\n"})
    host, _, port = private_registry.host.partition(":")
    url = private_git.url(repository)
    source = {
        "named": {"repository": url, "token": {"secret": "git"}},
        "literal": {"repository": url, "token": GIT_TOKEN},
        "in the URL": {"repository": url.replace("://", f"://ann:{GIT_TOKEN}@")},
    }[how]
    site.variables["REGISTRY_PASSWORD"] = PASSWORD
    (site.folder / "git-token").write_text(GIT_TOKEN)
    with Gate((host, int(port)), site.folder) as gate:
        gate.hold(rb"POST /v2/[^ ]+/blobs/uploads/")
        site.configure(
            f'[secrets]\ngit = {{file = "{site.folder}/git-token"}}\nregistry = {{env = "REGISTRY_PASSWORD"}}\n'
            f'[docker.registries."{gate.address}"]\nusername = "ann"\npassword = {{secret = "registry"}}\n'
        )
        tag = f"{gate.address}/team/app:{site.token}"
        task = site.submit(site.build(url, source=source, build={"tags": [tag], "push": True}))
        worker = site.worker("--max-tasks", "1")
        gate.wait_until_held()
        while_running = command_lines() + site.command("show", task, "--json").everything
        gate.open()
        assert worker.wait() == 0
    assert site.resolutions(task) == ["completed"], worker.output
    shown = [
        site.command(*words).everything for words in (["show", task], ["show", task, "--json"], ["list", "--json"])
    ]
    assert json.loads(shown[1])["resolution"] == "completed"
    for secret in (GIT_TOKEN, PASSWORD):
        assert secret not in while_running
        assert secret not in worker.output + "".join(shown)
        inside = [name for name in site.files_containing(secret) if not name.startswith("queue.db")]
        assert inside == []
    assert site.files_containing(PASSWORD) == []
    if how == "named":
        assert site.files_containing(GIT_TOKEN) == []
    assert (site.home / "queue.db").stat().st_mode & 0o077 == 0
    assert site.leftovers() == []


def test_a_secret_that_a_task_prints_is_masked_everywhere(site: Site) -> None:
    secret = f"spoken-{site.token}"
    site.variables["SPOKEN"] = secret
    site.configure('[secrets]\nspoken = {env = "SPOKEN"}\n')
    task = site.process("echo it is $WORD; exit 3", secrets={"WORD": {"secret": "spoken"}})
    ended = site.run(task)
    assert ended.status == 1
    assert "it is " in ended.out
    assert secret not in ended.everything
    assert site.files_containing(secret) == []


def test_only_the_owner_may_read_the_files_of_a_worker(site: Site) -> None:
    site.run(site.process("echo made > made.txt", artifacts=[{"name": "made.txt", "path": "made.txt"}]))
    kept = [path for path in site.home.rglob("*") if path.is_file()]
    assert site.home.stat().st_mode & 0o077 == 0 or all(path.stat().st_mode & 0o077 == 0 for path in kept)
    assert kept
