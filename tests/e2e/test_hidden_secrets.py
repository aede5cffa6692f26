"""Secrets are visible nowhere, neither while they are used nor afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.e2e.conftest import GIT_TOKEN, PASSWORD
from tests.support.e2e import Site
from tests.support.gate import Gate
from tests.support.githttp import GitServer, make_repository
from tests.support.registry import Registry
from tests.support.secret_search import command_lines, inside_images, inspected_containers
from tests.support.ssh_agent import make_key

SLEEP = 'test -n "$HIDDEN" && echo "it is $HIDDEN"; sleep {token} || true'
STEP = "FROM taskrunner-base\nRUN --mount=type=ssh set -e; test -S $SSH_AUTH_SOCK; sleep {token} || true\n"
HIDDEN = {"secret": "hidden"}


def container(site: Site, url: str) -> dict[str, Any]:
    script = SLEEP.format(token=site.token)
    command = ["sh", "-c", script]
    return {"platform": "docker", "image": "taskrunner-base", "command": command, "secrets": {"HIDDEN": HIDDEN}}


def service(site: Site, url: str) -> dict[str, Any]:
    own = container(site, url)
    db = {"name": "db", "image": "taskrunner-base", "command": own["command"], "secrets": {"HIDDEN": HIDDEN}}
    return {**own, "command": ["sh", "-c", f"sleep {site.token} || true"], "secrets": {}, "services": [db]}


def ssh_build(site: Site, url: str) -> dict[str, Any]:
    return site.build(url, build={"ssh": {"keys": {"default": HIDDEN}}, "tags": [f"hidden/app:{site.token}"]})


@pytest.mark.parametrize("using", [container, service, ssh_build])
def test_a_secret_of_a_container_a_service_or_an_ssh_mount_is_visible_nowhere(
    site: Site, git: GitServer, repositories: Path, using: Callable[[Site, str], dict[str, Any]]
) -> None:
    key = make_key(site.folder / "key")
    secret = key.read_text() if using is ssh_build else f"hidden-{site.token}"
    searched = secret.splitlines()[2] if using is ssh_build else secret
    (site.folder / "secret").write_text(secret)
    make_repository(repositories / f"ssh-{site.token}", {"Dockerfile": STEP.format(token=site.token)})
    site.configure(f'[secrets]\nhidden = {{file = "{site.folder}/secret"}}\n[docker]\nlocal_tags = ["hidden/*"]\n')
    task = site.submit({"id": f"t{site.token}", **using(site, git.url(f"ssh-{site.token}"))})
    worker = site.worker("--max-tasks", "1")
    site.wait_for_sleep()
    shown = command_lines() + site.command("show", task, "--json").everything
    shown += "" if using is ssh_build else inspected_containers(site.home)
    assert site.files_containing(searched) == [], "while it runs"
    site.end_sleeps()
    assert worker.wait() == 0
    assert site.resolutions(task) == ["completed"], site.log(task)
    shown += worker.output + site.log(task) + site.command("show", task, "--json").everything
    assert searched not in shown
    assert site.files_containing(searched) == []
    if using is ssh_build:
        with closing(docker.from_env()) as client:
            assert searched.encode() not in inside_images(image.id for image in site.images(client))


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


@pytest.mark.parametrize("login", ["{}", "{}:", "{}:x-oauth-basic"])
@pytest.mark.parametrize("kind", ["repository", "archive"])
def test_a_token_in_the_place_of_a_urls_user_is_masked(site: Site, git: GitServer, login: str, kind: str) -> None:
    """As GitHub takes it: `https://TOKEN@host/`."""
    token = f"ghp-{site.token}"
    url = git.url("web").replace("://", f"://{login.format(token)}@")
    task = site.process(f"echo it is {token}; git remote -v; exit 3", source={kind: url})
    ended = site.run(task)
    assert ended.status in {1, 4}
    shown = [site.command(*words).everything for words in (["show", task["id"]], ["show", task["id"], "--json"])]
    assert token not in ended.everything + "".join(shown)
    assert [name for name in site.files_containing(token) if not name.startswith("queue.db")] == []


def test_only_the_owner_may_read_the_files_of_a_worker(site: Site) -> None:
    site.run(site.process("echo made > made.txt", artifacts=[{"name": "made.txt", "path": "made.txt"}]))
    kept = [path for path in site.home.rglob("*") if path.is_file()]
    assert site.home.stat().st_mode & 0o077 == 0 or all(path.stat().st_mode & 0o077 == 0 for path in kept)
    assert kept
