"""Base images from a registry that asks for a password."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import attrs
import bcrypt
import pytest
from script.base_image import IMAGE

from taskrunner.errors import TaskFailedInternally, Unavailable

USER, PASSWORD = "robot", "correct-horse"
CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "{host}"}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""


@attrs.frozen
class Registry:
    host: str
    asked: list[str] = attrs.field(factory=list)

    def with_password(self, password: str):
        """Credentials that note for which host they are asked."""

        def credentials(host: str) -> tuple[str, str]:
            self.asked.append(host)
            return USER, password

        return credentials


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """A registry with a password; gives its host."""
    folder: Path = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = "127.0.0.1:{}".format(free.getsockname()[1])
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, host=host))
    program = shutil.which("docker-registry") or "registry"
    with subprocess.Popen([program, "serve", folder / "config.yml"], stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until_it_listens(host, process)
            yield host
        finally:
            process.send_signal(signal.SIGKILL)


def wait_until_it_listens(host: str, process: subprocess.Popen[str]) -> None:
    """Its error 401 says that it is there."""
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"http://{host}/v2/", timeout=10)
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            continue
    pytest.fail(f"the registry did not start: {process.stderr.read() if process.stderr else ''}")


@pytest.fixture
def registry(server) -> Registry:
    return Registry(server)


@pytest.fixture
def private(builder, registry) -> str:
    """The name of a base image that is in the registry only."""
    name = f"{registry.host}/{uuid.uuid4().hex}/base"
    image = builder.client.images.get(IMAGE)
    image.tag(name, "1")
    pushed = builder.client.images.push(name, "1", auth_config={"username": USER, "password": PASSWORD})
    builder.client.images.remove(f"{name}:1")
    assert "errorDetail" not in pushed
    return f"{name}:1"


def test_password_opens_the_base_image(builder, registry, private):
    outcome = builder.build(f"FROM {private}\nRUN echo in >/x", credentials=registry.with_password(PASSWORD))
    assert builder.output(outcome, "cat", "/x") == "in\n"
    assert set(registry.asked) == {registry.host}
    assert PASSWORD not in builder.log


def test_wrong_password_is_the_registrys_word(builder, registry, private):
    outcome = builder.build(f"FROM {private}", credentials=registry.with_password("wrong-horse"))
    assert outcome.image_id is None
    assert outcome.failed_step == f"[internal] load metadata for {private}"
    assert outcome.error.startswith(f"the base image {private} cannot be pulled: ")
    assert "401 Unauthorized" in outcome.error
    assert "wrong-horse" not in outcome.error + builder.log


def test_no_credentials_is_said_too(builder, private):
    outcome = builder.build(f"FROM {private}")
    assert f"the base image {private} cannot be pulled: " in outcome.error


def test_image_that_is_not_there(builder, registry):
    outcome = builder.build(f"FROM {registry.host}/no/such:1", credentials=registry.with_password(PASSWORD))
    assert "no/such:1 cannot be pulled: " in outcome.error
    assert "not found" in outcome.error


def test_trouble_of_the_credentials_is_passed_on(builder, private):
    def refuse(host: str) -> tuple[str, str]:
        raise Unavailable("the password service sleeps")

    with pytest.raises(Unavailable, match="password service"):
        builder.build(f"FROM {private}", credentials=refuse)


def test_any_other_trouble_is_named_but_not_told(builder, private):
    def leak(host: str) -> tuple[str, str]:
        raise ValueError("hunter2")

    with pytest.raises(TaskFailedInternally, match="ValueError") as caught:
        builder.build(f"FROM {private}", credentials=leak)
    told = [caught.value]
    while following := told[-1].__cause__ or told[-1].__context__:
        told.append(following)
    assert "hunter2" not in repr(told)
