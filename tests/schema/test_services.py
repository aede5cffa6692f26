"""The services of a task: what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from taskrunner.amounts import Amounts
from taskrunner.errors import MalformedPayload
from taskrunner.model import Task
from taskrunner.schema.service_shares import divided, share_complaints
from taskrunner.schema.task import common_fields

DB = {"name": "db", "image": "postgres:16"}
LESS = "(raise it, or let the services ask for less of it)"


def refusal(*services: Any, **document: Any) -> str:
    with pytest.raises(MalformedPayload) as caught:
        common_fields({"platform": "docker", "services": list(services), **document})
    return str(caught.value)


def test_a_service_needs_a_name_and_an_image_alone() -> None:
    (service,) = common_fields({"platform": "docker", "services": [DB]}).services
    assert (service.ready.port, service.ready.command, service.limit) == (0, (), 60)


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        ({"name": "db"}, "services[0].image: is missing"),
        ({"image": "postgres:16"}, "services[0].name: is missing"),
        ({**DB, "image": ""}, "services[0].image: must not be empty"),
        ({**DB, "name": "Data_Base"}, "services[0].name: is not of the form it needs"),
        ({**DB, "name": "localhost"}, "services[0].name: is not of the form it needs"),
        ({**DB, "command": "postgres -D /data"}, "services[0].command: "),
        ({**DB, "command": ["a\0b"]}, "services[0].command[0]: "),
        ({**DB, "env": {"1A": "x"}}, "services[0].env"),
        ({**DB, "secrets": {"A": "plain"}, "env": {"A": "x"}}, "services[0].secrets.A: is in env too"),
        ({**DB, "ready": 5432}, "services[0].ready: "),
        ({**DB, "ready": {"port": 65536}}, "services[0].ready.port: must be at most 65535"),
        ({**DB, "ready": {"port": 1, "command": ["x"]}}, "services[0].ready: has both a port and a command"),
        ({**DB, "limit": 0}, "services[0].limit: must be at least 1 s"),
        ({**DB, "limit": 3601}, "services[0].limit: must be at most 3600 s"),
        ({**DB, "ports": [80]}, "services[0].ports: "),
    ],
)
def test_what_a_service_cannot_be(service: Any, problem: str) -> None:
    assert problem in refusal(service)


@pytest.mark.parametrize(
    ("services", "problem"),
    [
        ([DB, DB], "services: db is named twice"),
        (
            [{**DB, "ready": {"port": 80}}, {**DB, "name": "web", "ready": {"port": 80}}],
            "services: port 80 is that of two services (all of a run share one address)",
        ),
        ([{**DB, "name": f"db{n}"} for n in range(33)], "services: is longer than 32"),
    ],
)
def test_what_services_cannot_be_together(services: list[Any], problem: str) -> None:
    assert problem in refusal(*services)


def test_the_log_of_a_service_has_its_name_in_the_store() -> None:
    artifact = {"name": "services/db.log", "path": "out"}
    assert "artifacts[0].name: services/db.log is the log of a service" in refusal(DB, artifacts=[artifact])


def task(resources: dict[str, Any], *asked: dict[str, Any]) -> Task:
    services = [{**DB, "name": f"s{number}", "resources": each} for number, each in enumerate(asked)]
    return common_fields({"platform": "docker", "resources": resources, "services": services})


@pytest.mark.parametrize(
    ("resources", "asked", "parts"),
    [
        ({}, [{}, {"memory": "64MiB"}], [Amounts(), Amounts(), Amounts(memory=64 << 20)]),
        ({"cpus": 2}, [], [Amounts(cpus=2)]),
        (
            {"memory": "64MiB", "cpus": 2, "pids": 100, "gpu": 1},
            [{"memory": "16MiB", "cpus": 0.5}, {"pids": 9}],
            [
                Amounts(24 << 20, 0.75, 45, {"gpu": 1}),
                Amounts(16 << 20, 0.5, 45),
                Amounts(24 << 20, 0.75, 9),
            ],
        ),
    ],
)
def test_the_resources_of_a_task_are_divided(
    resources: dict[str, Any], asked: list[dict[str, Any]], parts: list[Amounts]
) -> None:
    parted = divided(task(resources, *asked))
    assert [parted.resources, *(service.resources for service in parted.services)] == parts


@pytest.mark.parametrize(
    ("resources", "asked", "message"),
    [
        (
            {"memory": "64MiB"},
            {"memory": "60MiB"},
            f"resources.memory: leaves each container that has no part of its own less than memory 6MiB {LESS}",
        ),
        (
            {"pids": 9},
            {"pids": 70},
            f"resources.pids: leaves each container that has no part of its own less than pids 1 {LESS}",
        ),
        (
            {"gpu": 1},
            {"gpu": 1},
            "services[0].resources.gpu: is counted for the whole run (write it as `resources.gpu` of the task)",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused(resources: dict[str, Any], asked: dict[str, Any], message: str) -> None:
    assert [str(each) for each in share_complaints(task(resources, asked))] == [message]
    with pytest.raises(MalformedPayload):
        divided(task(resources, asked))
