"""Where a build's tags go that name no registry: a host, Docker Hub, or the registry of the worker's AWS account."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from taskrunner.errors import TaskFailed
from taskrunner.model import Secret
from taskrunner_docker.build.destination import find_destination
from taskrunner_docker.build.job import BuildJob
from taskrunner_docker.options import EcrOptions, RegistryOptions
from taskrunner_docker.payload import BuildSpec
from taskrunner_docker.registry.logins import Registries
from taskrunner_docker.registry.transfer import Transfers
from tests.support.aws import FAKE_CREDENTIALS
from tests.support.ecr import REGION, ecr
from tests.support.transfer_bench import TransferBench

NO_CREDENTIALS = {"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}


def with_environment(transfers: Transfers, **variables: str) -> Registries:
    return attrs.evolve(transfers.registries, environment=variables)


@pytest.mark.parametrize(
    ("registry", "tag", "name"),
    [
        ("registry.example:5000", "team/app:1", "registry.example:5000/team/app:1"),
        ("registry.example", "localhost/app", "localhost/app"),
        ("by-host.example", "app", "by-host.example/app"),
        ("", "team/app", "team/app"),
        ("ecr", "registry.example/app", "registry.example/app"),
    ],
)
def test_a_tag_gets_the_registry_that_it_does_not_name(registry: str, tag: str, name: str) -> None:
    bench = TransferBench({"by-host.example": RegistryOptions(ecr=EcrOptions(REGION))})

    async def find(transfers: Transfers) -> list[str]:
        spec, context = BuildSpec(tags=(tag,), registry=registry), _Context(bench)
        job = BuildJob(transfers.client, None, transfers, context, None, spec)  # type: ignore[arg-type]
        return list((await find_destination(job))[1])

    assert bench.run(find) == [name]


class _Context:
    """The part of a run's context that is used."""

    def __init__(self, bench: TransferBench) -> None:
        self.progress = bench.reported.append


def test_amazon_tells_the_host_and_its_login_is_for_that(tmp_path: Path, tagged: Callable[[str], str]) -> None:
    with ecr(tmp_path) as (endpoint, running):
        bench = TransferBench({"aws": RegistryOptions(ecr=EcrOptions(REGION, endpoint))})

        async def push(transfers: Transfers) -> str:
            host, registries = await with_environment(transfers, **FAKE_CREDENTIALS).at("aws")
            assert host == running.host
            return await attrs.evolve(transfers, registries=registries).push(tagged(f"{host}/team/app:1"))

        assert bench.run(push) in running.digests()


def test_an_entry_for_the_host_itself_wins() -> None:
    """For instance with another `create`."""
    own = RegistryOptions("ci", Secret(literal="x"))

    async def find(transfers: Transfers) -> object:
        return (await transfers.registries.at("registry.example"))[1].options["registry.example"]

    assert TransferBench({"registry.example": own}).run(find) == own


@pytest.mark.parametrize(
    ("variables", "words"),
    [({}, "no AWS region: set `region` of its `ecr`, or AWS_REGION"), ({"AWS_REGION": REGION}, "no AWS credentials")],
)
def test_ecr_needs_no_entry_but_a_region_and_credentials(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bench = TransferBench()
    with pytest.raises(TaskFailed, match=words) as caught:
        bench.run(lambda transfers: with_environment(transfers, **NO_CREDENTIALS, **variables).at("ecr"))
    assert caught.value.reason == "login-failed"
