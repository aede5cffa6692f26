"""The payload of a task, checked before it is run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from taskrunner.errors import MalformedPayload
from taskrunner.model import Secret
from taskrunner.schema.decode import decode
from taskrunner_docker import BuildSpec, DockerOptions, DockerPayload
from taskrunner_docker.options import EcrOptions, RegistryOptions
from taskrunner_docker.payload import check, local_tag_complaints
from taskrunner_docker.registry.references import DOCKER_HUB, Reference

BUILD = {"tags": ["registry.example/app:1"], "push": True}


def complaints(document: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(MalformedPayload) as caught:
        check(decode(DockerPayload, document))
    return {complaint.path: str(complaint) for complaint in caught.value.complaints}


def test_a_run_and_a_build_are_taken() -> None:
    check(decode(DockerPayload, {"image": "busybox", "command": ["echo", "hi"], "working_dir": "/work"}))
    build = decode(DockerPayload, {"build": {**BUILD, "build_args": {"A": "b"}}})
    check(build)
    assert build.build == BuildSpec(
        build_args={"A": "b"},
        tags=("registry.example/app:1",),
        push=True,
    )


def test_it_is_either_a_run_or_a_build() -> None:
    assert "make it two tasks" in complaints({"image": "busybox", "build": BUILD})["build"]
    assert "name the image" in complaints({})["image"]
    assert set(complaints({"build": BUILD, "command": ["x"], "working_dir": "/x"})) == {"command", "working_dir"}


def test_every_mistake_is_named_at_its_place() -> None:
    build = {
        "dockerfile": "/etc/passwd",
        "context": "../up",
        "tags": ["Upper", "a@sha256:00", "ok:1"],
    }
    assert set(complaints({"build": build})) == {
        "build.dockerfile",
        "build.context",
        "build.tags[0]",
        "build.tags[1]",
    }


def test_a_push_needs_names() -> None:
    assert "to push, name the image" in complaints({"build": {"push": True}})["build.tags"]


def test_a_bad_run_is_refused() -> None:
    assert set(complaints({"image": "-bad-", "command": ["a\0b"], "working_dir": "relative"})) == {
        "image",
        "command",
        "working_dir",
    }


def test_the_configuration_is_decoded() -> None:
    document = {
        "registries": {
            "registry.example:5000": {"username": "ci", "password": {"secret": "registry"}},
            "1.dkr.ecr.eu-west-1.amazonaws.com": {"ecr": {"region": "eu-west-1", "endpoint": "http://127.0.0.1:5555"}},
        }
    }
    assert decode(DockerOptions, document) == DockerOptions(
        registries={
            "registry.example:5000": RegistryOptions("ci", Secret("registry")),
            "1.dkr.ecr.eu-west-1.amazonaws.com": RegistryOptions(ecr=EcrOptions("eu-west-1", "http://127.0.0.1:5555")),
        }
    )


@pytest.mark.parametrize(
    ("text", "registry", "path", "tag"),
    [
        ("busybox", DOCKER_HUB, "busybox", ""),
        ("team/app:1.0", DOCKER_HUB, "team/app", "1.0"),
        ("localhost/app", "localhost", "app", ""),
        ("127.0.0.1:5000/a/b/c:x_y-z.1", "127.0.0.1:5000", "a/b/c", "x_y-z.1"),
        ("[::1]:5000/app", "[::1]:5000", "app", ""),
        ("Registry.Example/app", "Registry.Example", "app", ""),
        ("a__b/c--d:1", DOCKER_HUB, "a__b/c--d", "1"),
    ],
)
def test_a_name_is_parsed(text: str, registry: str, path: str, tag: str) -> None:
    reference = Reference.parse(text)
    assert (reference.registry, reference.path, reference.tag) == (registry, path, tag)
    assert str(reference) == text


def test_a_name_with_a_digest() -> None:
    text = f"registry.example/app:1@sha256:{'0' * 64}"
    assert str(Reference.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "app:", "UPPER", "a//b", "/a", "a/", "a:-x", "a b", "a:b:c", "a.-b", "x/" * 200, "a@sha256:1", "-.x/y"],
)
def test_a_bad_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Reference.parse(text)


@given(some.text())
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except ValueError:
        return
    assert str(Reference.parse(str(reference))) == str(reference)


def test_the_labels_and_names_of_the_worker_are_refused() -> None:
    build = {"labels": {"taskrunner.worker": "w1", "team": "web"}, "tags": ["taskrunner-build/w1:x", "app:1"]}
    found = complaints({"build": build})
    assert found.keys() == {"build.labels['taskrunner.worker']", "build.tags[0]"}


@pytest.mark.parametrize(
    ("tag", "allowed", "is_allowed"),
    [
        ("app", (), False),
        ("app", ("app",), True),
        ("app:dev", ("app",), True),
        ("app:prod", ("app:dev",), False),
        ("app", ("app:latest",), True),
        ("team/app:1", ("team/*",), True),
        ("docker.io/alpine", ("app", "team/*"), False),
        ("registry.example:5000/team/app", ("registry.example:5000/team/*",), True),
        ("registry.example:5000/team/app:1", ("team/*",), False),
    ],
)
def test_a_local_name_needs_the_leave_of_the_configuration(
    tag: str, allowed: tuple[str, ...], *, is_allowed: bool
) -> None:
    assert bool([*local_tag_complaints(BuildSpec(tags=(tag,)), allowed)]) is not is_allowed
    assert not [*local_tag_complaints(BuildSpec(tags=(tag,), push=True), ())]
