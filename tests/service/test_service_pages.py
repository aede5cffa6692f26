"""What the page about services shows is what `service print` prints, and its files for containers fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from script.service_files import FILES, PAGE, ROOT, page
from taskrunner.cli import taskrunner
from taskrunner.config.settings import load_settings
from taskrunner.service.description import STOP_TIMEOUT, SYSTEM_CONFIG, SYSTEM_HOME

MADE = "run python -m script.service_files"
DOCUMENTS: dict[str, Any] = {
    each["kind"]: each for each in yaml.safe_load_all((ROOT / "examples/kubernetes.yaml").read_text())
}
POD = DOCUMENTS["Deployment"]["spec"]["template"]["spec"]
[WORKER] = POD["containers"]
[SIDECAR] = POD["initContainers"]
ENV = {each["name"]: each["value"] for each in WORKER["env"]}
IMAGE = (ROOT / "examples/worker_image/Dockerfile").read_text()


def mounts(container: Any) -> dict[str, str]:
    return {each["name"]: each["mountPath"] for each in container["volumeMounts"]}


@pytest.mark.parametrize("path", FILES)
def test_an_example_is_what_is_printed(path: str) -> None:
    assert (ROOT / path).read_text() == FILES[path], MADE


def test_the_page_shows_the_examples() -> None:
    text = PAGE.read_text()
    assert page(text) == text, MADE
    assert all(content in text for content in FILES.values())


def test_the_pod_gives_the_worker_the_time_that_it_counts_on() -> None:
    assert POD["terminationGracePeriodSeconds"] == int(ENV["TASKRUNNER_STOP_TIMEOUT"]) == STOP_TIMEOUT


def test_docker_is_there_before_the_worker_and_until_its_end() -> None:
    assert SIDECAR["restartPolicy"] == "Always"
    assert mounts(SIDECAR)["home"] == mounts(WORKER)["home"] == ENV["TASKRUNNER_HOME"]
    assert f"--host={ENV['DOCKER_HOST']}" in SIDECAR["args"]
    assert Path(ENV["DOCKER_HOST"].removeprefix("unix://")).is_relative_to(mounts(WORKER)["socket"])


def test_the_pod_has_each_volume_that_is_mounted() -> None:
    assert set(mounts(WORKER)) | set(mounts(SIDECAR)) == {each["name"] for each in POD["volumes"]}


def test_the_pod_and_the_image_agree() -> None:
    user = WORKER["securityContext"]["runAsUser"]
    assert f"USER {user}:{POD['securityContext']['fsGroup']}\n" in IMAGE
    assert f"--group={user}" in SIDECAR["args"]
    assert f"TASKRUNNER_HOME={ENV['TASKRUNNER_HOME']}\n" in IMAGE
    assert ENV["TASKRUNNER_HOME"] == str(SYSTEM_HOME / "taskrunner")


@pytest.mark.parametrize(
    "arguments",
    [WORKER["args"], *(WORKER[probe]["exec"]["command"][1:] for probe in ("startupProbe", "livenessProbe"))],
    ids=" ".join,
)
def test_the_commands_of_the_pod_exist(arguments: list[str]) -> None:
    verb = taskrunner.get_command(taskrunner.make_context("taskrunner", [arguments[0]]), arguments[0])
    assert verb
    verb.make_context(arguments[0], arguments[1:], resilient_parsing=False)


def test_the_configuration_of_the_pod_is_valid(tmp_path: Path) -> None:
    assert WORKER["args"][-1] == str(SYSTEM_CONFIG)
    assert mounts(WORKER)["config"] == str(SYSTEM_CONFIG.parent)
    file = tmp_path / SYSTEM_CONFIG.name
    file.write_text(DOCUMENTS["ConfigMap"]["data"][SYSTEM_CONFIG.name])
    secrets = load_settings(file, {}).config().secrets
    assert {each.env for each in secrets.values()} == set(DOCUMENTS["Secret"]["stringData"])
