"""Further hosts of a build, and its cache from a registry, on the real daemon."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.docker.buildkit.conftest import Builder
from tests.support.registry import registry


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running.host


def test_further_hosts_have_their_addresses(builder: Builder) -> None:
    hosts = {"db.internal": "10.1.2.3", "cache": "10.1.2.4"}
    outcome = builder.build("FROM BASE\nRUN cp /etc/hosts /seen", extra_hosts=hosts)
    lines = [line.split() for line in builder.output(outcome, "cat", "/seen").splitlines()]
    assert ["10.1.2.3", "db.internal"] in lines
    assert ["10.1.2.4", "cache"] in lines


def test_a_pushed_image_is_the_cache_of_the_next_build(builder: Builder, host: str) -> None:
    """The daemon's own cache does not have the step: a new one is made, and its image is all that stays."""
    name, text = f"{host}/cached", f"FROM BASE\nRUN cat /proc/sys/kernel/random/uuid >/made; echo {builder.label}"
    first = builder.build(text, tags=[f"{name}:1"], inline_cache=True)
    assert first.error == ""
    made = builder.output(first, "cat", "/made")
    assert "errorDetail" not in builder.client.images.push(name, "1")
    builder.client.images.remove(f"{name}:1", force=True)
    builder.forget_step("random/uuid")
    second = builder.build(text, cache_from=[f"{name}:1"])
    assert builder.output(second, "cat", "/made") == made
    assert "importing cache manifest" in builder.log


def test_without_the_cache_in_the_image_the_step_runs_again(builder: Builder, host: str) -> None:
    name, text = f"{host}/plain", f"FROM BASE\nRUN cat /proc/sys/kernel/random/uuid >/made; echo {builder.label}"
    first = builder.build(text, tags=[f"{name}:1"])
    made = builder.output(first, "cat", "/made")
    assert "errorDetail" not in builder.client.images.push(name, "1")
    builder.client.images.remove(f"{name}:1", force=True)
    builder.forget_step("random/uuid")
    assert builder.output(builder.build(text, cache_from=[f"{name}:1"]), "cat", "/made") != made


def test_a_cache_that_does_not_exist_does_no_harm(builder: Builder, host: str) -> None:
    outcome = builder.build("FROM BASE\nRUN true", cache_from=[f"{host}/{uuid.uuid4().hex}:1"])
    assert outcome.error == ""
