"""Documents as users write them, for the shipped platforms and queues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from taskrunner.config.plugins import load_platform, payload_classes
from taskrunner.config.settings import load_settings
from taskrunner.errors import MalformedPayload
from taskrunner.model import Secret
from taskrunner.schema.json_schema import object_schema, task_schema
from taskrunner.schema.parse import parse_document
from taskrunner.schema.task import decode_task

PROCESS = """
id = "hello"
platform = "process"
command = ["make", "test"]
env = {CI = "true"}
max_run_time = 600
[[artifacts]]
name = "public/report.xml"
path = "report.xml"
"""

BUILD = """
id = "build-web"
platform = "docker"
max_run_time = 1800
[source]
repository = "https://git.example/team/web.git"
ref = "main"
token = {secret = "git"}
[build]
dockerfile = "Dockerfile"
context = "."
build_args = {VERSION = "1.2"}
tags = ["registry.example:5000/team/web:1.2"]
push = true
"""

RUN = """
platform = "docker"
image = "busybox"
command = ["true"]
"""

CONFIG = """
capacity = 2
queue = "sqlite:///var/lib/taskrunner/queue.db"
[secrets]
git = {env = "GIT_TOKEN"}
registry = {file = "/etc/taskrunner/registry-password"}
[docker.registries."registry.example:5000"]
username = "ci"
password = {secret = "registry"}
[docker.registries."123456789012.dkr.ecr.eu-west-1.amazonaws.com"]
ecr = {region = "eu-west-1", endpoint = "http://127.0.0.1:5555"}
"""


@pytest.mark.parametrize("text", [PROCESS, BUILD, RUN])
def test_a_task_is_valid_for_decoder_and_schema(text: str) -> None:
    document = parse_document(text, "task.toml", "toml")
    jsonschema.validate(document, task_schema(payload_classes()))
    task, payload = decode_task(document, payload_classes())
    assert isinstance(payload, payload_classes()[task.platform])


@pytest.mark.parametrize(
    "change", [{"command": "make test"}, {"comand": []}, {"env": {"N": 1}}, {"platform": "procces"}]
)
def test_a_mistake_is_refused_by_both(change: dict[str, Any]) -> None:
    document = parse_document(PROCESS, "task.toml", "toml") | change  # type: ignore[operator]  # it is a dict
    with pytest.raises(MalformedPayload):
        decode_task(document, payload_classes())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, task_schema(payload_classes()))


def test_a_configuration_with_registries(folder: Path) -> None:
    (folder / "taskrunner.toml").write_text(CONFIG)
    config = load_settings(None, {}).config()
    options: Any = config.options(load_platform("docker"))
    assert options.registries["registry.example:5000"].password == Secret("registry")


@pytest.mark.parametrize("name", ["docker", "process"])
def test_every_field_of_a_platform_is_described(name: str) -> None:
    for cls in (load_platform(name).payload, load_platform(name).options):
        fields = object_schema(cls)["properties"]
        assert [key for key, field in fields.items() if not field.get("description")] == []
