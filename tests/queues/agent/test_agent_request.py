"""Requests as tasks: what each becomes, and the table of those that no agent takes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from taskrunner.errors import MalformedPayload
from taskrunner.model import Secret, Source, Submission, Task
from taskrunner.queues.agent.messages import InvocationRequest
from taskrunner.queues.agent.options import AgentOptions
from taskrunner.queues.agent.request import submission
from taskrunner.queues.submission import check_submission
from taskrunner.schema.check import check_task
from taskrunner_process import ProcessPayload, ProcessPlatform

SHA = "7d1dd60667bef887dfcefb656b0c8a9e825a3128"
ENV = {"GIT_URL": "https://git.example/app.git", "GIT_SHA": SHA, "JOB_NAME": "app beta", "BUILD_NUMBER": "12"}


def submitted(options: AgentOptions | None = None, env: dict[str, str] | None = None, **command: Any) -> Submission:
    request = InvocationRequest(command={"bin": "fastlane", "parameters": ["ios", "beta"], **command})
    request.command.env.update(ENV if env is None else env)
    made = submission(request, options or AgentOptions())
    check_submission(made)
    return made


def task_of(made: Submission) -> tuple[Task, ProcessPayload]:
    task, payload = check_task(made.document, {"process": ProcessPlatform})
    assert isinstance(payload, ProcessPayload)
    return task, payload


def test_a_request_becomes_a_process_in_a_checkout() -> None:
    made = submitted(AgentOptions(max_run_time=60))
    task, payload = task_of(made)
    assert task.source == Source(repository="https://git.example/app.git", ref=SHA)
    assert payload.command[-3:] == ("fastlane", "ios", "beta")
    assert payload.separate_stderr
    assert (task.name, task.max_run_time) == ("app beta 12", 60)
    assert {"name": "artifacts", "path": ".tmp/artifacts", "optional": True} in made.document["artifacts"]  # type: ignore[operator]
    assert task.env["FASTLANE_CI_ARTIFACTS"] == "${RUN_FOLDER}/.tmp/artifacts"
    assert made.retries == 0


def test_the_id_says_which_build_it_is_and_never_repeats() -> None:
    ids = {submitted().task_id for _ in range(2)} | {submitted(env=ENV | {"JOB_NAME": "/../ü"}).task_id}
    assert len(ids) == 3
    assert all(re.fullmatch(r"agent-(app-beta-)?12-[0-9a-f]{12}", each) for each in ids)


def test_a_value_that_looks_like_a_reference_of_ours_stays_as_it_is() -> None:
    task, _ = task_of(submitted(env=ENV | {"A": "${RUN_FOLDER}", "B": "$${RUN_FOLDER} $X ${Y}"}))
    assert (task.env["A"], task.env["B"]) == ("$${RUN_FOLDER}", "$$${RUN_FOLDER} $X ${Y}")


@pytest.mark.parametrize(
    ("url", "repository", "password"),
    [
        ("https://me:hunter%402@git.example/app", "https://me@git.example/app", "hunter@2"),
        ("http://:hunter2@git.example:8080/app", "http://git.example:8080/app", "hunter2"),
        ("https://git.example/app", "https://git.example/app", ""),
    ],
)
def test_a_password_in_the_url_is_a_secret(url: str, repository: str, password: str) -> None:
    task, _ = task_of(submitted(env=ENV | {"GIT_URL": url}))
    assert task.source
    assert task.source.repository == repository
    assert task.source.token == (Secret(literal=password) if password else None)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"bin": "", "env": {}}, "command.bin: names no program"),
    "no repository": ({"env": {"GIT_SHA": SHA}}, "command.env.GIT_URL: is missing"),
    "no commit": ({"env": {"GIT_URL": "https://git.example/app"}}, "command.env.GIT_SHA: is missing"),
    "a path": ({"env": ENV | {"GIT_URL": "/srv/git/app"}}, "command.env.GIT_URL: /srv/git/app is not among"),
    "a file URL": ({"env": ENV | {"GIT_URL": "file:///srv/git/app"}}, "it is a path of the worker's machine"),
    "ssh": ({"env": ENV | {"GIT_URL": "git@git.example:app"}}, "it is a repository over ssh"),
    "a transport": ({"env": ENV | {"GIT_URL": "ext::sh -c true"}}, "command.env.GIT_URL: "),
    "a broken host": ({"env": ENV | {"GIT_URL": "https://[x/app"}}, "command.env.GIT_URL: "),
    "an option": ({"env": ENV | {"GIT_URL": "--upload-pack=true"}}, "command.env.GIT_URL: "),
}


@pytest.mark.parametrize(("command", "complaint"), REFUSED.values(), ids=REFUSED)
def test_a_request_is_refused_by_its_field(command: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MalformedPayload) as refused:
        submitted(**command)
    assert complaint in str(refused.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(MalformedPayload) as refused:
        submitted(bin="", env={})
    paths = [complaint.path for complaint in refused.value.complaints]
    assert paths == ["command.bin", "command.env.GIT_URL", "command.env.GIT_SHA"]


def test_the_operator_says_which_repositories_callers_may_name() -> None:
    options = AgentOptions(repositories=("git.example", "/srv/git"))
    submitted(options)
    submitted(options, env=ENV | {"GIT_URL": "/srv/git/app"})
    with pytest.raises(MalformedPayload, match=r"its operator sets `repositories` in \[queue.agent\]"):
        submitted(options, env=ENV | {"GIT_URL": "https://other.example/app"})
    with pytest.raises(MalformedPayload, match="not among"):
        submitted(options, env=ENV | {"GIT_URL": "/srv/git/../secret"})
