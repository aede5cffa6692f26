"""`RUN --mount=type=ssh` with OpenSSH's programs in the build."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from taskrunner.errors import Unavailable
from taskrunner_docker.ssh import key_agent, load_key, socket_agent
from tests.docker.buildkit.conftest import Builder
from tests.support.ssh_agent import make_key, openssh_agent
from tests.support.tool_image import image_with, program


@pytest.fixture(scope="module")
def openssh(base_image: str) -> Iterator[str]:
    """The base image with `ssh-add`."""
    api = docker.APIClient(version="auto")
    with image_with(api, base_image, "with-openssh", program("ssh-add")) as image:
        yield image
    api.close()


def test_a_step_signs_with_a_key_that_it_does_not_get(builder: Builder, openssh: str, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    text = f"FROM {openssh}\nCOPY key.pub /\nRUN --mount=type=ssh ssh-add -T /key.pub && ssh-add -L >/listed"
    outcome = builder.build(
        text, {"key.pub": Path(f"{key}.pub").read_bytes()}, ssh={"default": key_agent([load_key(key.read_text())])}
    )
    assert builder.output(outcome, "cat", "/listed").split()[1] == Path(f"{key}.pub").read_text().split()[1]
    secret = key.read_text().splitlines()[2]
    image = builder.client.images.get(outcome.image_id)
    assert secret not in builder.log + str(image.history()) + str(image.attrs)
    exported = b"".join(builder.client.api.get_image(outcome.image_id))
    assert b"ssh-ed25519" in exported, "the search finds what is in a layer"
    assert secret.encode() not in exported


def test_each_mount_has_its_own_key(builder: Builder, openssh: str, tmp_path: Path) -> None:
    keys = {name: make_key(tmp_path / name) for name in ("web", "db")}
    mounts = " && ".join(f"cat /{name}.pub && SSH_AUTH_SOCK=/{name} ssh-add -T /{name}.pub" for name in keys)
    text = (
        f"FROM {openssh}\nCOPY . /\nRUN --mount=type=ssh,id=web,target=/web --mount=type=ssh,id=db,target=/db {mounts}"
    )
    files = {f"{name}.pub": Path(f"{key}.pub").read_bytes() for name, key in keys.items()}
    agents = {name: key_agent([load_key(key.read_text())]) for name, key in keys.items()}
    assert builder.build(text, files, ssh=agents).error == ""


def test_the_operators_agent_is_used(builder: Builder, openssh: str, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    with openssh_agent(tmp_path / "agent", key) as path:
        outcome = builder.build(
            f"FROM {openssh}\nCOPY . /\nRUN --mount=type=ssh ssh-add -T /key.pub; ssh-add -D; ssh-add -T /key.pub",
            {"key.pub": Path(f"{key}.pub").read_bytes()},
            ssh={"default": socket_agent(str(path))},
        )
    assert outcome.error == ""


def test_an_agent_that_is_gone_is_no_fault_of_the_build(builder: Builder, openssh: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"\[docker\] ssh_agent"):
        builder.build(
            f"FROM {openssh}\nRUN --mount=type=ssh ssh-add -l # {builder.label}",
            ssh={"default": socket_agent(str(tmp_path / "none"))},
        )


def test_a_mount_that_must_have_a_key_says_what_to_do(builder: Builder, openssh: str) -> None:
    outcome = builder.build(f"FROM {openssh}\nRUN --mount=type=ssh,id=web,required=true true")
    assert "no SSH key for the mount web: name one in build.ssh.keys" in outcome.error


def test_a_mount_without_a_key_is_not_there(builder: Builder, openssh: str) -> None:
    assert builder.build(f"FROM {openssh}\nRUN --mount=type=ssh ! [ -e $SSH_AUTH_SOCK ]").error == ""
