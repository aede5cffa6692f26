"""Pushing and pulling with a real registry: logins, digests, progress, failures in words, cancelling."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import docker
import pytest

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner.model import Progress, Secret
from taskrunner.testing import MemoryLog
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.options import EcrOptions, RegistryOptions
from taskrunner_docker.registry import transfer
from taskrunner_docker.registry.logins import Registries
from taskrunner_docker.registry.transfer import Transfers
from tests.support.aws import FAKE_CREDENTIALS, aws
from tests.support.registry import Registry, free_port, registry
from tests.support.stuck_registry import stuck_registry

PASSWORD = "s3cret-passw0rd"


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("private"), {"ci": PASSWORD}) as running:
        yield running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSES", (0.0, 0.0))


@pytest.fixture
def tagged(api: docker.APIClient, base_image: str) -> Iterator[Callable[[str], str]]:
    """Sets another name of the base image during the test."""
    names: list[str] = []

    def tag(name: str) -> str:
        names.append(name)
        repository, _, version = name.rpartition(":")
        api.tag(base_image, repository, version)
        return name

    yield tag
    for name in names:
        with suppress(docker.errors.ImageNotFound):
            api.remove_image(name)


class TransferBench:
    """Transfers with their log and progress."""

    def __init__(self, logins: Mapping[str, RegistryOptions] | None = None) -> None:
        self.logins = logins or {}
        self.log, self.reported = MemoryLog(), list[Progress]()

    def run(self, work: Callable[[Transfers], Coroutine[Any, Any, Any]]) -> Any:
        async def main() -> Any:
            client = await DockerClient.connect("")
            registries = Registries(client, self.logins, lambda secret: secret.literal, self.log.mask)
            try:
                return await work(Transfers(client, registries, self.log.say, self.reported.append))
            finally:
                client.dispose()

        return asyncio.run(main())


def login(host: str, password: str = PASSWORD) -> TransferBench:
    return TransferBench({host: RegistryOptions("ci", Secret(literal=password))})


def test_a_push_returns_the_digest_of_the_registry(private: Registry, tagged: Callable[[str], str]) -> None:
    bench, name = login(private.host), tagged(f"{private.host}/team/app:1.0")
    digest = bench.run(lambda transfers: transfers.push(name))
    assert digest in private.digests()
    assert f"pushed {name} ({digest})" in bench.log.text
    assert PASSWORD not in bench.log.text
    last = bench.reported[-1]
    assert (last.step, last.done) == ("push", last.total)
    assert last.done > 1_000_000


def test_what_was_pushed_is_pulled(private: Registry, tagged: Callable[[str], str], api: docker.APIClient) -> None:
    bench, name = login(private.host), tagged(f"{private.host}/team/pulled:1.0")
    bench.run(lambda transfers: transfers.push(name))
    api.remove_image(name)
    bench.run(lambda transfers: transfers.pull(name))
    assert api.inspect_image(name)["RepoTags"]


def test_a_wrong_password_is_named_and_not_shown(private: Registry, tagged: Callable[[str], str]) -> None:
    bench, name = login(private.host, "wr0ng-passw0rd"), tagged(f"{private.host}/team/app:1.0")
    with pytest.raises(TaskFailed) as caught:
        bench.run(lambda transfers: transfers.push(name))
    assert caught.value.reason == "login-failed"
    assert f'[docker.registries."{private.host}"]' in str(caught.value)
    assert "wr0ng-passw0rd" not in f"{caught.value!r} {bench.log.text}"


def test_a_missing_login_is_named(private: Registry, tagged: Callable[[str], str]) -> None:
    name = tagged(f"{private.host}/team/app:1.0")
    with pytest.raises(TaskFailed, match="has no login for it: add") as caught:
        TransferBench().run(lambda transfers: transfers.push(name))
    assert caught.value.reason == "login-failed"


def test_an_image_that_no_registry_has(private: Registry) -> None:
    with pytest.raises(TaskFailed, match="check that the name is right") as caught:
        login(private.host).run(lambda transfers: transfers.pull(f"{private.host}/team/missing:9"))
    assert caught.value.reason == "pull-failed"


def test_a_registry_that_is_down_is_tried_three_times(tagged: Callable[[str], str]) -> None:
    name = tagged(f"127.0.0.1:{free_port()}/app:1.0")
    bench = TransferBench()
    with pytest.raises(Unavailable, match="the registry may be down"):
        bench.run(lambda transfers: transfers.push(name))
    assert bench.log.text.count("trying again") == 2


def test_a_registry_that_comes_back_gets_its_push(
    tmp_path: Path, tagged: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    name = tagged(f"127.0.0.1:{port}/app:1.0")
    bench = TransferBench()

    async def push_while_it_starts(transfers: Transfers) -> str:
        pushing = asyncio.create_task(transfers.push(name))
        await bench.log.until("trying again")
        with registry(tmp_path, port=port) as running:
            digest = await pushing
            assert digest in running.digests()
        return digest

    monkeypatch.setattr(transfer, "PAUSES", (3.0, 3.0))
    assert bench.run(push_while_it_starts).startswith("sha256:")


def test_a_cancelled_push_closes_its_connection(tagged: Callable[[str], str]) -> None:
    async def cancel(transfers: Transfers) -> None:
        pushing = asyncio.create_task(transfers.push(name))
        assert await asyncio.to_thread(stuck.came.wait, 30)
        pushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pushing
        stuck.resume.set()
        assert await asyncio.to_thread(stuck.gone.wait, 30)

    with stuck_registry() as stuck:
        name = tagged(f"{stuck.host}/app:1.0")
        TransferBench().run(cancel)


def test_a_password_is_fetched_from_ecr_for_each_push(
    tmp_path: Path, tagged: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in FAKE_CREDENTIALS.items():
        monkeypatch.setenv(variable, value)
    with aws() as endpoint:
        client = boto3.client("ecr", region_name="eu-west-1", endpoint_url=endpoint)
        token = client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        with registry(tmp_path, {user: password}) as running:
            bench = TransferBench()
            bench.logins = {running.host: RegistryOptions(ecr=EcrOptions("eu-west-1", endpoint))}
            name = tagged(f"{running.host}/app:1.0")
            assert bench.run(lambda transfers: transfers.push(name)) in running.digests()
        assert f"as {user}" in bench.log.text
        bench.log.say(password)
        assert password not in bench.log.text


def test_missing_aws_credentials_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    bench = TransferBench({"registry.example": RegistryOptions(ecr=EcrOptions("eu-west-1"))})
    with pytest.raises(TaskFailed, match="no AWS credentials") as caught:
        bench.run(lambda transfers: transfers.push("registry.example/app:1.0"))
    assert caught.value.reason == "login-failed"


def test_an_aws_that_is_down_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in FAKE_CREDENTIALS.items():
        monkeypatch.setenv(variable, value)
    nobody = EcrOptions("eu-west-1", f"http://127.0.0.1:{free_port()}")
    bench = TransferBench({"registry.example": RegistryOptions(ecr=nobody)})
    with pytest.raises(Unavailable, match="AWS does not answer"):
        bench.run(lambda transfers: transfers.registries.find("registry.example"))
