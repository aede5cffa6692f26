"""Pushing and pulling with a real registry: logins, digests, progress, failures in words, cancelling."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import docker
import pytest

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner_docker.options import EcrOptions, RegistryOptions
from taskrunner_docker.registry import transfer
from taskrunner_docker.registry.transfer import Transfers
from tests.support.answering_registry import answering_registry
from tests.support.aws import FAKE_CREDENTIALS, aws
from tests.support.ports import free_port
from tests.support.random_layer import random_layer
from tests.support.registry import Registry, registry
from tests.support.stuck_registry import stuck_registry
from tests.support.transfer_bench import PASSWORD, TransferBench, login


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("private"), {"ci": PASSWORD}) as running:
        yield running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSES", (0.0, 0.0))


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


def test_a_pull_that_wants_fewer_requests_may_pass_too(tagged: Callable[[str], str]) -> None:
    body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no"}]}'
    with answering_registry(429, body) as host, pytest.raises(Unavailable, match="429"):
        TransferBench().run(lambda transfers: transfers.pull(tagged(f"{host}/app:1.0")))
    with answering_registry(404, body) as host, pytest.raises(TaskFailed, match="no"):
        TransferBench().run(lambda transfers: transfers.pull(tagged(f"{host}/app:1.0")))


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


LARGE = 16 << 20
"""Bytes: more than a socket's buffers take, so that Docker is sending it for as long as the registry reads nothing."""


def test_a_cancelled_push_closes_its_connection(tagged: Callable[[str], str], api: docker.APIClient) -> None:
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
        api.import_image_from_data(random_layer(LARGE), repository=f"{stuck.host}/app", tag="1.0")
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


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>slow down</html>", b'{"errors":[]}', b'{"errors":[{"code":"DENIED","message":"no"}]}'],
    ids=["empty", "html", "json", "another code"],
)
def test_a_registry_that_wants_fewer_requests_is_tried_again_whatever_it_writes(
    tagged: Callable[[str], str], body: bytes
) -> None:
    bench = TransferBench()
    with answering_registry(429, body) as host, pytest.raises(Unavailable, match="429"):
        bench.run(lambda transfers: transfers.push(tagged(f"{host}/app:1.0")))
    assert bench.log.text.count("trying again") == 2


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (418, b"<html>hi</html>", {}, "what answers there is no registry, or is broken"),
        (200, b"<html>hi</html>", {}, "what answers there is no registry, or is broken"),
        (307, b"", {"Location": "http://{host}/v2/again"}, "the registry redirects in a circle"),
    ],
    ids=["html", "no digest", "loop"],
)
def test_a_fault_of_the_registry_is_called_one(
    tagged: Callable[[str], str], status: int, body: bytes, headers: dict[str, str], said: str
) -> None:
    with answering_registry(status, body, headers) as host:
        for work in (Transfers.push, Transfers.pull):
            with pytest.raises(TaskFailed, match=said):
                TransferBench().run(lambda transfers, work=work: work(transfers, tagged(f"{host}/app:1.0")))  # type: ignore[misc]
