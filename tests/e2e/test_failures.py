"""Mistakes of users and servers that are down: each message says which step failed, why, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.e2e.conftest import GIT_TOKEN
from tests.support.e2e import LABEL, Site
from tests.support.githttp import GitServer, make_repository
from tests.support.ports import free_port
from tests.support.registry import Registry

WRONG_TOKEN = "wrong-token-99ab"
WRONG_PASSWORD = "wrong-password-31fe"

FILES = {
    "Dockerfile": "FROM taskrunner-base\nRUN true\n",
    "broken/Dockerfile": "FROM taskrunner-base\nRUM true\n",
    "failing/Dockerfile": "FROM taskrunner-base\nRUN echo to no avail && exit 7\n",
    "copy/Dockerfile": "FROM taskrunner-base\nCOPY page.txt /\n",
}


@attrs.frozen
class FailedTasks:
    """The site on which every failing task was run."""

    site: Site
    names: Mapping[str, str]
    """Addresses and the like, which differ from one test run to the next."""
    output: str


CASES: dict[str, tuple[dict[str, Any], str, str, str]] = {}
"""Name to document, kind, reason and message. `{git}` and the like in documents and messages are addresses."""


def case(name: str, document: dict[str, Any], kind: str, reason: str, message: str) -> None:
    CASES[name] = document, kind, reason, message


def build(repository: str = "{git}/faulty", source: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "platform": "docker",
        "source": {"repository": repository, "ref": "main", **(source or {})},
        "build": {"labels": {LABEL: "{label}"}, **spec},
    }


def script(text: str, **more: Any) -> dict[str, Any]:
    return {"platform": "process", "command": ["sh", "-c", text], **more}


def push(image: str) -> dict[str, Any]:
    return build(tags=[image], push=True)


case(
    "wrong branch", build(source={"ref": "nope"}), "failed", "clone-failed",
    'clone: {git}/faulty has no branch, tag or commit "nope"; it has main',
)  # fmt: skip
case(
    "missing repository", build("{git}/nowhere"), "failed", "clone-failed",
    "clone: {git}/nowhere was not found, or it is private and needs a token",
)  # fmt: skip
case(
    "no token", build("{private}/web"), "failed", "clone-failed",
    "clone: {private}/web needs a token, and none was given",
)  # fmt: skip
case(
    "wrong token", build("{private}/web", {"token": WRONG_TOKEN}), "failed", "clone-failed",
    "clone: {private}/web refused the token: is it expired, and may it read this repository?",
)  # fmt: skip
case(
    "wrong token in the URL", build("{private_with_token}/web"), "failed", "clone-failed",
    "clone: {private}/web refused the token: is it expired, and may it read this repository?",
)  # fmt: skip
case(
    "git server down", build("http://{closed}/web"), "exception", "resource-unavailable",
    "clone: {closed} refused the connection: is the address right, and does the server run?",
)  # fmt: skip
case(
    "unknown git server", build("http://git.invalid/web"), "exception", "resource-unavailable",
    "clone: git.invalid is not known to the name service: is the address right?",
)  # fmt: skip
case(
    "missing Dockerfile", build(dockerfile="Nope"), "failed", "build-failed",
    "build failed: there is no file Nope in the build context to build from",
)  # fmt: skip
case(
    "missing context", build(context="nope"), "failed", "clone-failed",
    'clone: the context is not there: the commit has no folder "nope"; there are broken, copy, failing',
)  # fmt: skip
case(
    "broken Dockerfile", build(context="broken"), "failed", "build-failed",
    "build failed: dockerfile parse error line 2: unknown instruction: RUM",
)  # fmt: skip
case(
    "failing RUN", build(context="failing"), "failed", "build-failed",
    "build failed at [2/2] RUN echo to no avail && exit 7: exit code: 7",
)  # fmt: skip
case(
    "missing file to COPY", build(context="copy"), "failed", "build-failed",
    "build failed at [2/2] COPY page.txt /: /page.txt is not in the build context: it does not exist, or .dockerignore "
    "excludes it",
)  # fmt: skip
case(
    "registry down", push("{closed}/team/app:1"), "exception", "resource-unavailable",
    'push of {closed}/team/app:1 failed: Get "http://{closed}/v2/": dial tcp {closed}: connect: connection refused; '
    "the registry may be down",
)  # fmt: skip
case(
    "wrong password", push("{registry}/team/app:1"), "failed", "login-failed",
    "login to {registry} failed: login attempt to http://{registry}/v2/ failed with status: 401 Unauthorized; check "
    'the login in [docker.registries."{registry}"] of the worker\'s configuration, and what it may do',
)  # fmt: skip
case(
    "no credentials", push("{registry_by_name}/team/app:1"), "failed", "login-failed",
    "push of {registry_by_name}/team/app:1 failed: no basic auth credentials; the worker's configuration has no login "
    'for it: add [docker.registries."{registry_by_name}"] with username and password, or '
    "`docker login {registry_by_name}` as the worker's user",
)  # fmt: skip
case(
    "missing image", {"platform": "docker", "image": "{closed}/team/other:1"}, "exception", "resource-unavailable",
    'pull of {closed}/team/other:1 failed: Get "http://{closed}/v2/": dial tcp {closed}: connect: connection refused; '
    "the registry may be down",
)  # fmt: skip
case(
    "unknown platform", {"platform": "kubernetes"}, "exception", "malformed-payload",
    "platform: this worker has no platform of that name (known are docker, process)",
)  # fmt: skip
case(
    "malformed task",
    {"platform": "process", "comand": ["x"], "retries": "many", "artifacts": [{"name": "x", "path": "../passwd"}]},
    "exception", "malformed-payload",
    "retries: expected a whole number, got a text (write it without quotes and fraction)\n"
    "artifacts[0].path: is not of the form it needs (write a path inside the run's folder, without `..`)\n"
    "comand: is not known here (did you mean command?)",
)  # fmt: skip
case(
    "command not found", {"platform": "process", "command": ["no-such-program"]}, "failed", "command-not-found",
    "there is no command 'no-such-program' in {path} (PATH); install it, or give its path",
)  # fmt: skip
case(
    "not a program", {"platform": "process", "command": ["/etc/passwd"]}, "failed", "not-executable",
    "'/etc/passwd' cannot be executed; `chmod +x` it, or name the program that runs it",
)  # fmt: skip
case("exit code", script("exit 7"), "failed", "exit-code", "the command ended with exit code 7")
case("signal", script("kill -9 $$"), "failed", "exit-code", "killed by signal 9 (SIGKILL)")
case(
    "missing artifact", script("true", artifacts=[{"name": "report", "path": "out/report.xml"}]),
    "failed", "artifact-missing", "artifacts could not be kept:\nout/report.xml: there is no such file or folder",
)  # fmt: skip
case(
    "unknown secret", script("true", secrets={"A": {"secret": "nowhere"}}), "exception", "malformed-payload",
    "this worker has no secret named nowhere (have it added to [secrets] in the worker's configuration)",
)  # fmt: skip
case(
    "retries used up", script("exit 75", retries=0, on_exit_status={"retry": [75]}), "exception", "intermittent-task",
    "exit code 75 is one that this task asks to be retried on",
)  # fmt: skip


@pytest.fixture(scope="module")
def failed_tasks(
    tmp_path_factory: pytest.TempPathFactory,
    base_image: str,
    repositories: Path,
    private_git: GitServer,
    private_registry: Registry,
) -> Iterator[FailedTasks]:
    """Every failing task, run by one worker."""
    make_repository(repositories / "faulty", FILES)
    site = Site(tmp_path_factory.mktemp("failures"))
    port = private_registry.host.partition(":")[2]
    with ExitStack() as servers:
        git = servers.enter_context(GitServer(repositories))
        servers.callback(site.close)
        private = private_git.url("").rstrip("/")
        names = {
            "git": git.url("").rstrip("/"),
            "private": private,
            "private_with_token": private.replace("://", f"://bot:{WRONG_TOKEN}@"),
            "closed": f"127.0.0.1:{free_port()}",
            "registry": private_registry.host,
            "registry_by_name": f"localhost:{port}",
            "label": site.token,
            "path": site.environment()["PATH"],
        }
        site.configure(f'[docker.registries."{names["registry"]}"]\nusername = "ann"\npassword = "{WRONG_PASSWORD}"\n')
        for name, (document, *_) in CASES.items():
            site.submit({"id": id_of(name), "retries": 0, **filled(document, names)})
        yield FailedTasks(site, names, site.run_worker("--capacity", "4").output)


def id_of(name: str) -> str:
    return name.replace(" ", "-")


def filled(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, dict):
        return {key: filled(inner, names) for key, inner in value.items()}
    return [filled(inner, names) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", CASES)
def test_the_message_of_a_failure_says_which_step_why_and_what_to_do(failed_tasks: FailedTasks, name: str) -> None:
    _, kind, reason, message = CASES[name]
    ending = failed_tasks.site.status(id_of(name)).resolution
    assert ending is not None
    assert (ending.kind, ending.reason) == (kind, reason)
    assert ending.message == filled(message, failed_tasks.names)


@pytest.mark.parametrize("name", CASES)
def test_the_log_of_a_failed_run_ends_with_the_reason(failed_tasks: FailedTasks, name: str) -> None:
    _, kind, reason, message = CASES[name]
    log = failed_tasks.site.log(id_of(name))
    last = f"[taskrunner] {kind} ({reason}) after "
    assert last in log
    text = log[log.index(last) :].partition(" s: ")[2].replace("\n[taskrunner] ", "\n").rstrip("\n")
    assert text == filled(message, failed_tasks.names)
    assert "Traceback" not in log


def test_the_worker_prints_each_failure_once_and_no_traceback(failed_tasks: FailedTasks) -> None:
    assert "Traceback" not in failed_tasks.output
    assert "warning" not in failed_tasks.output
    for name, (_, _, _, message) in CASES.items():
        first = filled(message, failed_tasks.names).splitlines()[0]
        assert failed_tasks.output.count(f"{id_of(name)}/0    {first}") == 1, name


def test_failed_tasks_leave_nothing(failed_tasks: FailedTasks) -> None:
    assert failed_tasks.site.leftovers() == []


@pytest.mark.parametrize("secret", [WRONG_TOKEN, WRONG_PASSWORD, GIT_TOKEN])
def test_no_failure_shows_a_secret(failed_tasks: FailedTasks, secret: str) -> None:
    assert secret not in failed_tasks.output
    assert [name for name in failed_tasks.site.files_containing(secret) if not name.startswith("queue.db")] == []
    site = failed_tasks.site
    shown = [site.command("show", id_of(name), "--json").everything for name in ("wrong token", "wrong password")]
    assert secret not in "".join(shown)
    assert secret not in failed_tasks.site.command("list", "--json", "--limit", "100").everything
