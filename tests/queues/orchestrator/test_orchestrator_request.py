"""Jobs as tasks: what each becomes, and the table of those that no worker takes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from taskrunner.errors import MalformedPayload
from taskrunner.model import Secret, Source, Task
from taskrunner.queues.orchestrator.messages import JobRequest
from taskrunner.queues.orchestrator.options import OrchestratorOptions
from taskrunner.queues.orchestrator.request import OrchestratorJob, failed_step, job_of
from taskrunner.queues.orchestrator.steps import ImageStep
from taskrunner.queues.submission import check_submission
from taskrunner.schema.check import check_task
from taskrunner_docker import DockerPayload, DockerPlatform
from taskrunner_docker.payload import BuildSpec

FIELDS = {
    "jobId": "job 7",
    "repoUrl": "team/web",
    "branch": "main",
    "dockerfilePath": "Dockerfile",
    "contextDir": ".",
    "imageName": "web:1.0",
    "githubToken": "ghp_x",
}


def made(options: OrchestratorOptions | None = None, **fields: str) -> OrchestratorJob:
    job = job_of(JobRequest(**(FIELDS | fields)), options or OrchestratorOptions())
    check_submission(job.submission)
    return job


def task_of(job: OrchestratorJob) -> tuple[Task, BuildSpec]:
    task, payload = check_task(job.submission.document, {"docker": DockerPlatform})
    assert isinstance(payload, DockerPayload)
    assert payload.build
    return task, payload.build


def test_a_job_becomes_a_build_that_is_pushed() -> None:
    job = made(OrchestratorOptions(max_run_time=60))
    task, build = task_of(job)
    token = Secret(literal="ghp_x")
    assert task.source == Source("https://github.com/team/web.git", "main", token, submodules=False)
    assert build == BuildSpec(tags=("web:1.0",), push=True, registry="ecr")
    assert (task.name, task.max_run_time, job.submission.retries, job.aws) == ("job 7 team/web", 60, 0, True)


def test_the_id_says_which_job_it_is_and_never_repeats() -> None:
    ids = {made().submission.task_id for _ in range(2)} | {made(jobId="../7").submission.task_id}
    assert len(ids) == 3
    assert all(re.fullmatch(r"job-(job-)?7-[0-9a-f]{12}", each) for each in ids)


def test_an_id_as_long_as_it_may_be_makes_a_task() -> None:
    task, _ = task_of(made(jobId="x" * 256))
    assert task.name == "x" * 200


def test_a_job_without_a_token_is_fetched_without_one() -> None:
    task, _ = task_of(made(githubToken=""))
    assert task.source
    assert task.source.token is None


@pytest.mark.parametrize(
    ("context", "dockerfile", "spec"),
    [
        (".", "Dockerfile", (".", "Dockerfile")),
        ("", "", (".", "Dockerfile")),
        ("/", "/docker/web", (".", "docker/web")),
        ("./app/", "Dockerfile", ("app", "Dockerfile")),
        ("app", "./app/Dockerfile", ("app", "Dockerfile")),
        ("/app", "/app/docker/web", ("app", "docker/web")),
    ],
)
def test_paths_are_below_the_repository_however_they_are_written(
    context: str, dockerfile: str, spec: tuple[str, str]
) -> None:
    _, build = task_of(made(contextDir=context, dockerfilePath=dockerfile))
    assert (build.context, build.dockerfile) == spec


def test_an_image_may_name_a_registry_that_the_operator_allows() -> None:
    options = OrchestratorOptions(registry="registry.example:5000", registries=("localhost",))
    for name in ("web", "registry.example:5000/web", "localhost/web"):
        job = made(options, imageName=name)
        _, build = task_of(job)
        assert (build.tags, build.registry, job.aws) == ((name,), "registry.example:5000", False)


def test_the_server_of_the_repositories_is_the_operators() -> None:
    options = OrchestratorOptions(repository_base="http://git.example:3000/", repositories=("http://*:*/team",))
    task, _ = task_of(made(options, repoUrl="team/group/web.git"))
    assert task.source
    assert task.source.repository == "http://git.example:3000/team/group/web.git"
    with pytest.raises(MalformedPayload, match=r"its operator sets `repositories` in \[queue.orchestrator\]"):
        made(options, repoUrl="other/web")


def test_a_path_must_be_allowed_as_one() -> None:
    with pytest.raises(MalformedPayload, match="it is a path of the worker's machine"):
        made(OrchestratorOptions(repository_base="/srv/git"))
    made(OrchestratorOptions(repository_base="/srv/git", repositories=("/srv/git",)))


REFUSED: dict[str, tuple[dict[str, str], str, ImageStep]] = {
    "no repository": ({"repoUrl": ""}, "repoUrl: '' is no owner/repo", ImageStep.CLONE),
    "a URL": ({"repoUrl": "https://github.com/team/web"}, "is no owner/repo", ImageStep.CLONE),
    "a URL with a password": ({"repoUrl": "https://x:y@h/web"}, "is no owner/repo", ImageStep.CLONE),
    "no owner": ({"repoUrl": "web"}, "repoUrl: 'web' is no owner/repo", ImageStep.CLONE),
    "a path": ({"repoUrl": "/etc"}, "repoUrl: '/etc' is no owner/repo", ImageStep.CLONE),
    "the folder above": ({"repoUrl": "team/../../x"}, "repoUrl: ", ImageStep.CLONE),
    "a query": ({"repoUrl": "team/web?x"}, "is no owner/repo", ImageStep.CLONE),
    "a line break": ({"repoUrl": "team/web\n"}, "is no owner/repo", ImageStep.CLONE),
    "no id": ({"jobId": ""}, "jobId: is no id", ImageStep.BUILD),
    "an endless id": ({"jobId": "x" * 257}, "jobId: is no id", ImageStep.BUILD),
    "an id with control characters": ({"jobId": "x\x1b[2J"}, "jobId: is no id", ImageStep.BUILD),
    "no image": ({"imageName": ""}, "imageName: is empty", ImageStep.PUSH),
    "a registry": ({"imageName": "evil.example/web"}, "imageName: evil.example is not among", ImageStep.PUSH),
    "a registry in capitals": ({"imageName": "EVIL/web"}, "imageName: EVIL is not among", ImageStep.PUSH),
    "a registry of this machine": ({"imageName": "localhost:5000/web"}, "localhost:5000 is not among", ImageStep.PUSH),
}


@pytest.mark.parametrize(("fields", "complaint", "step"), REFUSED.values(), ids=REFUSED)
def test_a_job_is_refused_by_its_field_and_step(fields: dict[str, str], complaint: str, step: ImageStep) -> None:
    with pytest.raises(MalformedPayload) as refused:
        made(**fields)
    assert complaint in str(refused.value)
    assert failed_step(refused.value.complaints) is step


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(MalformedPayload) as refused:
        made(**dict.fromkeys(FIELDS, ""))
    assert [complaint.path for complaint in refused.value.complaints] == ["repoUrl", "jobId", "imageName"]


@pytest.mark.parametrize(
    "fields",
    [
        {"imageName": "Web"},
        {"imageName": "web@sha256:00"},
        {"imageName": "web:a b"},
        {"contextDir": "../x"},
        {"contextDir": "a/../../x"},
        {"dockerfilePath": "../Dockerfile"},
    ],
)
def test_what_is_checked_with_every_task_is_refused_too(fields: dict[str, Any]) -> None:
    job = made(**fields)
    with pytest.raises(MalformedPayload):
        task_of(job)
