"""Logins that `docker login` has stored: in `config.json`, and with credential helpers that are real programs."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
import pytest

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner.testing import MemoryLog
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.registry import credential_helper
from taskrunner_docker.registry.login import Login
from taskrunner_docker.registry.logins import Registries
from taskrunner_docker.registry.stored_logins import stored_login
from taskrunner_docker.registry.transfer import Transfers
from tests.support.queue_processes import soon
from tests.support.registry import registry

PASSWORD = "s3cret-passw0rd"
AUTH = base64.b64encode(f"ci:{PASSWORD}".encode()).decode()
HUB = "https://index.docker.io/v1/"
HELPER = """#!/bin/sh
read -r server
env > "$HOME/environment"
case $server in
  r.example|127.0.0.1:*) printf '{"ServerURL": "%s", "Username": "ci", "Secret": "s3cret-passw0rd"}' "$server" ;;
  token.example) echo '{"Username": "<token>", "Secret": "t0ken-t0ken"}' ;;
  broken.example) echo s3cret-passw0rd; exit 0 ;;
  locked.example) echo s3cret-passw0rd; exit 2 ;;
  hung.example) sleep 1000000 & echo $! > "$HOME/child"; wait ;;
  *) echo "credentials not found in native keychain"; exit 1 ;;
esac
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a helper `file` on its PATH."""
    helper = tmp_path / "bin" / "docker-credential-file"
    helper.parent.mkdir()
    helper.write_text(HELPER)
    helper.chmod(0o755)
    (tmp_path / ".docker").mkdir()
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": f"{home}/bin:/usr/bin:/bin", "AWS_SECRET_ACCESS_KEY": "n0t-for-helpers"}


def find(home: Path, config: Mapping[str, Any] | str, server: str) -> Login | None:
    text = config if isinstance(config, str) else json.dumps(config)
    (home / ".docker" / "config.json").write_text(text)
    return asyncio.run(stored_login(server, environment(home)))


CI = ("ci", PASSWORD, "")


@pytest.mark.parametrize(
    ("config", "server", "found"),
    [
        ({"auths": {"r.example": {"auth": AUTH}}}, "r.example", CI),
        ({"auths": {"https://r.example/v1/": {"auth": AUTH}}}, "r.example", CI),
        ({"auths": {HUB: {"auth": AUTH}}}, "docker.io", CI),
        ({"auths": {"r.example": {"identitytoken": "t0ken"}}}, "r.example", ("", "", "t0ken")),
        ({"auths": {"r.example": {}}}, "r.example", None),
        ({"auths": {"r.example": {"auth": AUTH}}}, "r.example:5000", None),
        ({}, "r.example", None),
        ("[]", "r.example", None),
        ({"credsStore": "file"}, "r.example", CI),
        ({"credsStore": "file"}, "token.example", ("", "", "t0ken-t0ken")),
        ({"credsStore": "file"}, "unknown.example", None),
        ({"credsStore": "file", "auths": {"old.example": {"auth": AUTH}}}, "old.example", CI),
        ({"credsStore": "nowhere", "credHelpers": {"r.example": "file"}}, "r.example", CI),
    ],
)
def test_where_a_login_comes_from(
    home: Path, config: Mapping[str, Any], server: str, found: tuple[str, str, str] | None
) -> None:
    login = find(home, config, server)
    assert (login and (login.username, login.password, login.identity_token)) == found
    assert PASSWORD not in repr(login)


@pytest.mark.parametrize(
    ("config", "server", "words"),
    [
        ("{", "r.example", "config.json is no JSON"),
        ({"auths": {"r.example": {"auth": "%%%"}}}, "r.example", "the login for r.example is damaged"),
        (
            {"credsStore": "nowhere"},
            "r.example",
            "docker-credential-nowhere of Docker's config.json is not on the PATH",
        ),
        ({"credsStore": "../file"}, "r.example", "is not on the PATH"),
        ({"credsStore": "file"}, "locked.example", "ended with 2: look at `echo locked.example |"),
        ({"credsStore": "file"}, "broken.example", "printed something else than a login"),
    ],
)
def test_a_login_that_cannot_be_had_says_why_and_shows_nothing(
    home: Path, config: Mapping[str, Any] | str, server: str, words: str
) -> None:
    with pytest.raises(TaskFailed) as caught:
        find(home, config, server)
    assert caught.value.reason == "login-failed"
    assert words in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_helper_gets_a_clean_environment(home: Path) -> None:
    find(home, {"credsStore": "file"}, "r.example")
    text = (home / "environment").read_text()
    assert f"HOME={home}" in text
    assert "AWS_SECRET" not in text


def test_a_helper_that_hangs_is_ended_with_its_children(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credential_helper, "HELPER_LIMIT", 1.0)
    with pytest.raises(Unavailable, match="docker-credential-file has not answered within 1 seconds"):
        find(home, {"credsStore": "file"}, "hung.example")
    child = Path("/proc", (home / "child").read_text().strip(), "cmdline")
    assert soon(lambda: not child.exists() or not child.read_bytes(), 10), "a dead process has no command line"


def test_a_private_image_is_pulled_with_a_helper(home: Path, api: docker.APIClient, base_image: str) -> None:
    log = MemoryLog()

    async def pull(name: str) -> None:
        client = await DockerClient.connect("")
        registries = Registries(client, {}, lambda secret: secret.literal, log.mask, environment(home))
        try:
            await Transfers(client, registries, log.say, lambda _: None).pull(name)
        finally:
            client.dispose()

    with registry(home / "registry", {"ci": PASSWORD}) as running:
        name = f"{running.host}/app:1"
        api.tag(base_image, f"{running.host}/app", "1")
        api.push(f"{running.host}/app", tag="1", auth_config={"username": "ci", "password": PASSWORD})
        api.remove_image(name)
        with pytest.raises(TaskFailed, match=f"or `docker login {running.host}` as the worker's user"):
            asyncio.run(pull(name))
        (home / ".docker" / "config.json").write_text(json.dumps({"credHelpers": {running.host: "file"}}))
        asyncio.run(pull(name))
        api.remove_image(name)
    assert PASSWORD not in log.text
