"""Base images from a registry that asks for a password."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import attrs
import pytest

from script.base_image import IMAGE
from taskrunner.errors import TaskFailedInternally, Unavailable
from tests.docker.buildkit.conftest import Builder
from tests.support.registry import registry as running_registry

USER, PASSWORD = "robot", "correct-horse"


@attrs.frozen
class Locked:
    """A registry that asks for a password."""

    host: str
    asked: list[str] = attrs.field(factory=list)

    def with_password(self, password: str) -> Callable[[str], tuple[str, str]]:
        """Credentials that record the hosts for which they are requested."""

        def credentials(host: str) -> tuple[str, str]:
            self.asked.append(host)
            return USER, password

        return credentials


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry"), {USER: PASSWORD}) as server:
        yield server.host


@pytest.fixture
def registry(host: str) -> Locked:
    return Locked(host)


@pytest.fixture
def private(builder: Builder, registry: Locked) -> str:
    """The name of a base image that is in the registry only."""
    name = f"{registry.host}/{uuid.uuid4().hex}/base"
    image = builder.client.images.get(IMAGE)
    image.tag(name, "1")
    pushed = builder.client.images.push(name, "1", auth_config={"username": USER, "password": PASSWORD})
    builder.client.images.remove(f"{name}:1")
    assert "errorDetail" not in pushed
    return f"{name}:1"


def test_password_opens_the_base_image(builder: Builder, registry: Locked, private: str) -> None:
    outcome = builder.build(f"FROM {private}\nRUN echo in >/x", credentials=registry.with_password(PASSWORD))
    assert builder.output(outcome, "cat", "/x") == "in\n"
    assert set(registry.asked) == {registry.host}
    assert PASSWORD not in builder.log


def test_wrong_password_is_reported_as_the_registry_does(builder: Builder, registry: Locked, private: str) -> None:
    outcome = builder.build(f"FROM {private}", credentials=registry.with_password("wrong-horse"))
    assert outcome.image_id is None
    assert outcome.failed_step == f"[internal] load metadata for {private}"
    assert outcome.error.startswith(f"the base image {private} cannot be pulled: ")
    assert "401 Unauthorized" in outcome.error
    assert "wrong-horse" not in outcome.error + builder.log


def test_missing_credentials_are_named(builder: Builder, private: str) -> None:
    outcome = builder.build(f"FROM {private}")
    assert f"the base image {private} cannot be pulled: " in outcome.error


def test_missing_image_is_named(builder: Builder, registry: Locked) -> None:
    outcome = builder.build(f"FROM {registry.host}/no/such:1", credentials=registry.with_password(PASSWORD))
    assert "no/such:1 cannot be pulled: " in outcome.error
    assert "not found" in outcome.error


def test_error_of_the_credentials_is_raised(builder: Builder, private: str) -> None:
    def refuse(host: str) -> tuple[str, str]:
        raise Unavailable("the password service sleeps")

    with pytest.raises(Unavailable, match="password service"):
        builder.build(f"FROM {private}", credentials=refuse)


def test_unknown_error_of_the_credentials_shows_its_type_only(builder: Builder, private: str) -> None:
    def leak(host: str) -> tuple[str, str]:
        raise ValueError("hunter2")

    with pytest.raises(TaskFailedInternally, match="ValueError") as caught:
        builder.build(f"FROM {private}", credentials=leak)
    chain = [caught.value]
    while following := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(following)
    assert "hunter2" not in repr(chain)
