"""Pushes through a proxy with faults, in front of a real registry: what is tried again, and what is not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner_docker.options import EcrOptions, RegistryOptions
from taskrunner_docker.registry import transfer
from tests.support.aws import FAKE_CREDENTIALS, aws
from tests.support.faulty_registry import MANIFEST, UPLOAD, Fault, FaultyRegistry, faulty_registry
from tests.support.registry import Registry, registry
from tests.support.transfer_bench import PASSWORD, TransferBench, login

ALWAYS = sys.maxsize
Tag = Callable[[str], str]


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("private"), {"ci": PASSWORD}) as running:
        yield running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSES", (0.0, 0.0))


def pushed(proxy: FaultyRegistry, tagged: Tag, name: str) -> tuple[TransferBench, Any]:
    """The bench of one push, and the digest or the error."""
    bench, image = login(proxy.host), tagged(f"{proxy.host}/{name}:1")
    try:
        return bench, bench.run(lambda transfers: transfers.push(image))
    except (TaskFailed, Unavailable) as error:
        return bench, error


@pytest.mark.parametrize("kind", [429, 503, "reset"])
def test_what_passes_is_tried_again(private: Registry, tagged: Tag, kind: Any) -> None:
    with faulty_registry(private.host, Fault(kind, MANIFEST)) as proxy:
        bench, digest = pushed(proxy, tagged, f"passes-{kind}")
    assert digest in private.digests()
    assert proxy.count(MANIFEST) == 2
    assert bench.log.text.count("trying again in") == 1


def test_a_registry_that_stalls_is_tried_again(private: Registry, tagged: Tag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "IDLE", 2.0)
    with faulty_registry(private.host, Fault("stall", MANIFEST)) as proxy:
        bench, digest = pushed(proxy, tagged, "stalls")
    assert digest in private.digests()
    assert "Docker has been silent for 2 seconds; trying again in" in bench.log.text


def test_a_fault_that_stays_ends_the_push_after_three_attempts(private: Registry, tagged: Tag) -> None:
    with faulty_registry(private.host, Fault(503, MANIFEST, ALWAYS)) as proxy:
        _, error = pushed(proxy, tagged, "stays")
    assert isinstance(error, Unavailable)
    assert proxy.count(MANIFEST) == 3


@pytest.mark.parametrize("request_", [UPLOAD, MANIFEST], ids=["before a layer", "at the end"])
def test_a_login_that_expires_in_the_middle_is_made_again(private: Registry, tagged: Tag, request_: str) -> None:
    with faulty_registry(private.host, Fault(401, request_)) as proxy:
        bench, digest = pushed(proxy, tagged, f"expires-{request_[:3].lower()}")
    assert digest in private.digests()
    assert f"{proxy.host} wants a new login" in bench.log.text
    assert PASSWORD not in bench.log.text


def test_a_login_that_is_refused_again_is_not_made_a_third_time(private: Registry, tagged: Tag) -> None:
    with faulty_registry(private.host, Fault(401, UPLOAD, ALWAYS)) as proxy:
        bench, error = pushed(proxy, tagged, "refused")
    assert isinstance(error, TaskFailed)
    assert error.reason == "login-failed"
    assert bench.log.text.count("pushing ") == 2


@pytest.mark.parametrize(("status", "said"), [(403, "what it may do"), (404, "check that the name is right")])
def test_a_refusal_for_good_is_not_tried_again(private: Registry, tagged: Tag, status: int, said: str) -> None:
    with faulty_registry(private.host, Fault(status, UPLOAD, ALWAYS)) as proxy:
        bench, error = pushed(proxy, tagged, f"for-good-{status}")
    assert isinstance(error, TaskFailed)
    assert error.reason == "push-failed"
    assert said in str(error)
    assert bench.log.text.count("pushing ") == 1


@pytest.fixture
def ecr(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for variable, value in FAKE_CREDENTIALS.items():
        monkeypatch.setenv(variable, value)
    with aws() as endpoint:
        yield endpoint


def repositories(endpoint: str) -> list[str]:
    client = boto3.client("ecr", region_name="eu-west-1", endpoint_url=endpoint)
    return [found["repositoryName"] for found in client.describe_repositories()["repositories"]]


def push_to_ecr(endpoint: str, open_registry: Registry, tagged: Tag, *, create: bool, times: int = 1) -> TransferBench:
    """Pushes to a registry that knows the repositories of ECR alone, as ECR does."""
    is_missing = Fault(404, f"{UPLOAD}|HEAD .*/blobs/", ALWAYS, lambda: "team/new" not in repositories(endpoint))
    with faulty_registry(open_registry.host, is_missing) as proxy:
        bench = TransferBench({proxy.host: RegistryOptions(ecr=EcrOptions("eu-west-1", endpoint, create=create))})
        image = tagged(f"{proxy.host}/team/new:1")
        for _ in range(times):
            bench.run(lambda transfers: transfers.push(image))
    return bench


@pytest.fixture(scope="module")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("open")) as running:
        yield running


def test_ecr_makes_the_repository_if_asked_and_only_once(ecr: str, open_registry: Registry, tagged: Tag) -> None:
    bench = push_to_ecr(ecr, open_registry, tagged, create=True, times=2)
    assert repositories(ecr) == ["team/new"]
    assert bench.log.text.count("made the repository team/new in") == 1
    assert bench.log.text.count("pushed ") == 2


def test_ecr_without_create_says_how_to_make_it(ecr: str, open_registry: Registry, tagged: Tag) -> None:
    with pytest.raises(TaskFailed, match=r"set `create` in .*aws ecr create-repository --repository-name team/new"):
        push_to_ecr(ecr, open_registry, tagged, create=False)
    assert repositories(ecr) == []
