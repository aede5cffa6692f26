"""Jobs as tasks, and what a launcher may not ask for. The tasks are decoded as the worker does it."""

from __future__ import annotations

import os
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from taskrunner import Secret
from taskrunner.errors import ConfigError, MalformedPayload
from taskrunner.interfaces.plugin import QueueContext
from taskrunner.queues.launcher.job.authors_words import in_words_of_job
from taskrunner.queues.launcher.job.step_script import BASE64_FILES, FOLDER, OUTPUTS, TEXT_FILES, shell_of_step
from taskrunner.queues.launcher.job.submission import ignored_keys, submission
from taskrunner.queues.launcher.job.unknown_keys import told
from taskrunner.queues.launcher.messages import Dispatch
from taskrunner.queues.launcher.options import LauncherOptions, LogUpload, option_complaints
from taskrunner.queues.launcher.queue import build_id_of, log_target
from taskrunner.schema.check import check_task
from taskrunner.schema.task import decode_task
from taskrunner.steps.assignments import parse_assignments
from taskrunner_docker import DockerPlatform
from taskrunner_process import ProcessPlatform

RUN = {"run": "make"}
DOCKER = LauncherOptions(platform="docker", image="debian:12")


def task_of(job: dict[str, Any], options: LauncherOptions | None = None) -> tuple[Any, Any]:
    """The task and its payload."""
    made = submission(Dispatch("b-1", {"steps": [RUN]} | job, "p", "u"), options or LauncherOptions())
    assert (made.task_id, made.retries) == ("b-1", 0)
    task, payload = decode_task(
        {"id": made.task_id, **made.document}, {"process": ProcessPlatform.payload, "docker": DockerPlatform.payload}
    )
    platform = DockerPlatform if options is DOCKER else ProcessPlatform
    platform.check(payload)
    return task, payload


def complaint(job: dict[str, Any], options: LauncherOptions | None = None) -> str:
    with pytest.raises(MalformedPayload) as caught:
        task_of(job, options)
    return str(caught.value)


def test_a_job_is_a_task_of_steps() -> None:
    steps = [
        {"id": "a", "name": "Install", "run": "npm ci", "working_directory": "app", "env": {"CI": "1"}},
        {
            "if": "${{ failure() }}",
            "run": "report",
            "shell": "sh -e",
            "outputs": ["url", {"name": "x", "required": False}],
        },
        {"run": "use", "env": {"URL": "${{ steps.a.outputs.url }}"}, "name": None, "id": None},
    ]
    task, payload = task_of({"steps": steps})
    first, second, third = payload.steps
    assert (first.id, first.label, first.run, first.working_dir) == ("a", "Install", "npm ci", "app")
    assert first.shell[-3:] == ("/bin/bash", "-eo", "pipefail")
    assert first.env["CI"] == "1"
    assert (second.if_, second.shell[-2:], second.env[OUTPUTS]) == ("failure()", ("sh", "-e"), "url")
    assert third.env["URL"] == "${steps.a.outputs.url}"
    assert payload.separate_stderr
    assert task.metadata == {"project": "p", "user": "u"}


def test_keys_of_a_job_that_mean_nothing_here_are_ignored() -> None:
    task_of({"platform": "ios", "type": "generic", "builderEnvironment": {"image": "macos", "env": None}, "cache": {}})


def test_keys_of_steps_and_secrets_that_are_not_known_are_ignored_and_told() -> None:
    secret = {"name": "TOKEN", "type": "string", "value": "hunter-22", "scope": "all"}
    steps = [{"run": "make", "uses": "x", "iff": "false", "timeout": None}, {"run": "x", 'a"\n': 1}]
    job = {"steps": steps, "secrets": {"environmentSecrets": [secret]}, "cache": {}}
    _, payload = task_of(job)
    assert [(step.run, step.if_) for step in payload.steps] == [("make", ""), ("x", "")]
    assert told(ignored_keys(job)) == (
        "ignored, since this worker does not know it: job.steps[0].uses, job.steps[0].iff, "
        'job.steps[1]["a\\"\\n"], job.secrets.environmentSecrets[0].scope'
    )


@pytest.mark.parametrize(
    "job", [{}, {"steps": 1}, {"steps": [1, {"run": "x"}]}, {"secrets": {"environmentSecrets": {}}}]
)
def test_a_job_without_unknown_keys_is_told_nothing_about(job: dict[str, Any]) -> None:
    assert told(ignored_keys(job)) == ""


def test_a_flood_of_unknown_keys_is_one_line() -> None:
    line = told(ignored_keys({"steps": [{f"{number}-{'x' * 1000}": 1 for number in range(5000)}]}))
    assert line.endswith(" and 4,990 more")
    assert len(line) < 5000


def test_the_platform_is_the_operators() -> None:
    task, payload = task_of({}, DOCKER)
    assert (task.platform, payload.image, payload.steps[0].env[FOLDER]) == ("docker", "debian:12", "/tmp/.launcher")
    assert [each.path for each in option_complaints(LauncherOptions(platform="docker"))] == ["image"]
    assert [each.path for each in option_complaints(LauncherOptions(image="x"))] == ["image"]


def test_the_environment_is_taken_literally_and_a_secret_replaces_a_variable() -> None:
    secrets = [{"name": "TOKEN", "type": "string", "value": "hunter22"}]
    env = {"TOKEN": "public", "MONEY": "${RUN_FOLDER} $HOME"}
    task, _ = task_of({"builderEnvironment": {"env": env}, "secrets": {"environmentSecrets": secrets}})
    assert task.env == {"MONEY": "$${RUN_FOLDER} $HOME"}
    assert task.secrets == {"TOKEN": Secret(literal="hunter22")}


def test_secrets_that_are_files_are_masked_as_they_are_written() -> None:
    text, binary = b64encode(b"line 1\nline 2\n").decode(), b64encode(b"\xff\x00").decode()
    files = [
        {"name": "KEY", "type": "file", "value": text},
        {"name": "STORE", "type": "file", "value": binary},
    ]
    task, payload = task_of({"secrets": {"environmentSecrets": files}})
    assert task.secrets == {"KEY": Secret(literal="line 1\nline 2\n"), "STORE": Secret(literal=binary)}
    assert (payload.steps[0].env[TEXT_FILES], payload.steps[0].env[BASE64_FILES]) == ("KEY", "STORE")


@pytest.mark.parametrize(
    ("archive", "source"),
    [
        ({"type": "NONE"}, None),
        (
            {"type": "URL", "url": "https://example.com/a.tar.gz?sig=1"},
            {"archive": "https://example.com/a.tar.gz?sig=1", "strip": 1},
        ),
        (
            {
                "type": "GIT",
                "repositoryUrl": "https://u:pass@example.com/app",
                "gitCommitHash": "a" * 40,
                "gitRef": "x",
            },
            {"repository": "https://u@example.com/app", "ref": "a" * 40, "token": Secret(literal="pass")},
        ),
        (
            {
                "type": "GIT",
                "repositoryUrl": "https://example.com/app",
                "gitRef": "refs/heads/main",
                "gitCommitHash": None,
            },
            {"repository": "https://example.com/app", "ref": "main"},
        ),
    ],
)
def test_an_archive_is_a_source(archive: dict[str, Any], source: dict[str, Any] | None) -> None:
    task, _ = task_of({"projectArchive": archive})
    assert (task.source is None) == (source is None)
    for name, value in (source or {}).items():
        assert getattr(task.source, name) == value


def test_a_path_is_only_allowed_by_a_pattern() -> None:
    archive = {"projectArchive": {"type": "PATH", "path": "/srv/archives/a.tar.gz"}}
    assert "job.projectArchive.path" in complaint(archive)
    task, _ = task_of(archive, LauncherOptions(archives=("/srv/archives",)))
    assert (task.source.archive, task.source.strip) == ("/srv/archives/a.tar.gz", 1)


def test_artifacts_have_names_in_the_store() -> None:
    task, _ = task_of({"applicationArchivePath": "build/app.ipa", "buildArtifactPaths": ["logs", "reports"]})
    assert [(each.name, each.path) for each in task.artifacts] == [
        ("application-archive", "build/app.ipa"),
        ("build-artifacts/0", "logs"),
        ("build-artifacts/1", "reports"),
    ]


def _secret(**secret: Any) -> dict[str, Any]:
    return {"secrets": {"environmentSecrets": [secret]}}


HTTPS_ONLY = LauncherOptions(repositories=("git.example",), archives=("https://files.example/team",))
MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "no steps": ({"steps": []}, "job.steps: has no step"),
    "steps that are no list": ({"steps": {"run": "x"}}, "job.steps"),
    "a step that is a text": ({"steps": ["make"]}, "job.steps[0]"),
    "a step without a script": ({"steps": [{"name": "x"}]}, "job.steps[0].run"),
    "a script that is a list": ({"steps": [{"run": ["make"]}]}, "job.steps[0].run"),
    "a step that uses a function": ({"steps": [{"uses": "eas/build"}]}, "job.steps[0].run: is missing"),
    "a shell of nothing": ({"steps": [{"run": "x", "shell": " "}]}, "job.steps[0].shell"),
    "a shell with half a quote": ({"steps": [{"run": "x", "shell": "sh '"}]}, "job.steps[0].shell"),
    "an output with a space": ({"steps": [{"run": "x", "outputs": ["a b"]}]}, "job.steps[0].outputs[0]"),
    "an output without a name": ({"steps": [{"run": "x", "outputs": [{}]}]}, "job.steps[0].outputs[0]"),
    "an output that may be required": (
        {"steps": [{"run": "x", "outputs": [{"name": "a", "required": "no"}]}]},
        "job.steps[0].outputs[0].required",
    ),
    "a variable with a dash": ({"builderEnvironment": {"env": {"A-B": "1"}}}, "job.builderEnvironment.env"),
    "a variable that is a number": ({"builderEnvironment": {"env": {"A": 1}}}, "job.builderEnvironment.env.A"),
    "an environment that is a list": ({"builderEnvironment": []}, "job.builderEnvironment"),
    "a secret of another type": (_secret(name="A", type="env", value="x"), "job.secrets.environmentSecrets[0].type"),
    "a secret without a value": (_secret(name="A", type="string"), "job.secrets.environmentSecrets[0].value"),
    "an empty secret": (_secret(name="A", type="string", value=""), "job.secrets.environmentSecrets[0].value"),
    "a secret with a zero byte": (
        _secret(name="A", type="string", value="a\0b"),
        "job.secrets.environmentSecrets[0].value: holds a zero byte",
    ),
    "a file that is no base64": (_secret(name="A", type="file", value="?"), "job.secrets.environmentSecrets[0].value"),
    "a secret with a hostile name": (
        _secret(name="A; rm -rf /", type="file", value="eA=="),
        "job.secrets.environmentSecrets[0].name",
    ),
    "an archive of another type": ({"projectArchive": {"type": "S3"}}, "job.projectArchive.type"),
    "an archive without a type": ({"projectArchive": {"url": "https://x"}}, "job.projectArchive.type"),
    "a URL that is missing": ({"projectArchive": {"type": "URL"}}, "job.projectArchive.url"),
    "a URL that is a path": ({"projectArchive": {"type": "URL", "url": "/etc/passwd"}}, "job.projectArchive.url"),
    "a URL of a file": ({"projectArchive": {"type": "URL", "url": "file:///etc/x"}}, "job.projectArchive.url"),
    "a path that is a URL": ({"projectArchive": {"type": "PATH", "path": "https://x/y"}}, "job.projectArchive.path"),
    "a URL elsewhere": (
        {"projectArchive": {"type": "URL", "url": "https://files.example/other/a.tgz"}},
        "job.projectArchive.url",
    ),
    "a repository elsewhere": (
        {"projectArchive": {"type": "GIT", "repositoryUrl": "https://other.example/x", "gitRef": "main"}},
        "job.projectArchive.repositoryUrl",
    ),
    "a repository over ssh": (
        {"projectArchive": {"type": "GIT", "repositoryUrl": "git@git.example:x", "gitRef": "main"}},
        "job.projectArchive.repositoryUrl",
    ),
    "a repository at a path": (
        {"projectArchive": {"type": "GIT", "repositoryUrl": "/srv/git/x", "gitRef": "main"}},
        "job.projectArchive.repositoryUrl",
    ),
    "a repository without a commit": (
        {"projectArchive": {"type": "GIT", "repositoryUrl": "https://git.example/x"}},
        "job.projectArchive.gitRef",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_job_gets_a_complaint_that_names_the_key(name: str) -> None:
    job, path = MALFORMED[name]
    assert path in complaint(job, HTTPS_ONLY)


def test_all_complaints_come_at_once() -> None:
    found = complaint({"steps": [], "projectArchive": {"type": "S3"}} | _secret(name="A", type="file", value="?"))
    assert found.count("job.") >= 3


# ---- what runs before each script -------------------------------------------------------------------------


@pytest.fixture(params=[shell for shell in ("bash", "dash", "busybox") if shutil.which(shell)])
def sh(request: pytest.FixtureRequest) -> list[str]:
    return [request.param, "sh"] if request.param == "busybox" else [request.param]


def step(
    sh: list[str], folder: Path, script: str, *, outputs: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    for name in ("output", "env"):
        (folder / name).write_bytes(b"")
    (folder / "script").write_text(script)
    _, *arguments = shell_of_step(["sh", "-e"], checks_outputs=bool(outputs))
    files = {"TASKRUNNER_OUTPUT": f"{folder}/output", "TASKRUNNER_ENV": f"{folder}/env"}
    base = {"PATH": os.environ["PATH"], FOLDER: f"{folder}/of step"}
    more = {OUTPUTS: outputs} if outputs else {}
    command = [*sh, *arguments, f"{folder}/script"]
    return subprocess.run(
        command, env=base | files | more | env, capture_output=True, text=True, check=False, timeout=30
    )


VALUES = ["", "x", "a b", "two\nlines", "END", "END_\nEND", "'\"$(true)`\\n%s", "é", "x=y", "a\n", "-n"]


@pytest.mark.parametrize("value", VALUES)
def test_the_commands_set_any_value(sh: list[str], value: str, tmp_path: Path) -> None:
    done = step(sh, tmp_path, 'set-output name "$VALUE"; set-env NAME "$VALUE"', VALUE=value)
    assert (done.returncode, done.stderr) == (0, "")
    assert parse_assignments((tmp_path / "output").read_bytes()) == {"name": value}
    assert parse_assignments((tmp_path / "env").read_bytes()) == {"NAME": value}


def test_a_command_with_the_wrong_number_of_arguments_fails_the_step(sh: list[str], tmp_path: Path) -> None:
    done = step(sh, tmp_path, "set-output name; echo not reached")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "usage: set-output NAME VALUE\n")


def test_secrets_are_private_files_and_the_scripts_variables_are_gone(sh: list[str], tmp_path: Path) -> None:
    binary = bytes(range(256))
    env = {
        "TEXT": "two\nlines\n",
        "DATA": b64encode(binary).decode(),
        TEXT_FILES: "TEXT",
        BASE64_FILES: "DATA",
        "COPY": f"{tmp_path}/c",
    }
    done = step(
        sh, tmp_path, 'cp -p "$TEXT" "$COPY.text"; cp -p "$DATA" "$COPY.data"; env | grep LAUNCHER || umask', **env
    )
    assert done.stderr == "", done
    assert done.stdout.strip().endswith("22"), "the umask is that of the step"
    text, data = tmp_path / "c.text", tmp_path / "c.data"
    assert (text.read_bytes(), data.read_bytes()) == (b"two\nlines\n", binary)
    assert text.stat().st_mode & 0o777 == data.stat().st_mode & 0o777 == 0o600


def test_an_output_that_is_not_set_fails_the_step(sh: list[str], tmp_path: Path) -> None:
    assert step(sh, tmp_path, "set-output a 1; set-output b 2", outputs="a b").returncode == 0
    done = step(sh, tmp_path, "set-output a 1", outputs="a b")
    assert (done.returncode, done.stderr) == (1, "the step has not set its output b\n")


def test_the_exit_status_is_that_of_the_script(sh: list[str], tmp_path: Path) -> None:
    assert step(sh, tmp_path, "exit 7").returncode == 7
    assert step(sh, tmp_path, "exit 7", outputs="a").returncode == 7


# ---- the URL of the queue ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "launcher://",
        "launcher://:3005?build_id=",
        "launcher://?build_id=a/b",
        "launcher://?build_id=a&build_id=b",
        "launcher://?build_id=a&x=1",
        "launcher://?buildId=a",
    ],
)
def test_a_url_without_a_build_is_an_error_of_the_configuration(url: str) -> None:
    with pytest.raises(ConfigError, match="build"):
        build_id_of(url)


def test_a_url_names_the_build() -> None:
    assert build_id_of("launcher://0.0.0.0:3005?build_id=9f3c-1") == "9f3c-1"


@pytest.mark.parametrize(
    ("url", "headers", "problem"),
    [
        ("gs://bucket/log", {}, "log_upload.url: the URL is not one of http"),
        ("https://", {}, "log_upload.url: the URL is not one of http"),
        ("https://x/a b?hunter2", {}, "log_upload.url: the URL has a space"),
        ("https://x/log", {"x-key": "a\nb: c"}, "log_upload.headers.x-key: a header is one line"),
    ],
)
def test_a_wrong_signed_url_is_an_error_of_the_configuration(url: str, headers: dict[str, str], problem: str) -> None:
    target = LogUpload(Secret(literal=url), {name: Secret(literal=value) for name, value in headers.items()})
    context = QueueContext("w", Path("/nowhere"), lambda secret: secret.literal, {})
    with pytest.raises(ConfigError) as caught:
        log_target(LauncherOptions(log_upload=target), context)
    assert str(caught.value).startswith(problem)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("job", "path"),
    [
        ({"steps": [{"run": "x"}, {"run": "x", "working_directory": "/tmp"}]}, "job.steps[1].working_directory"),
        ({"steps": [{"run": "x", "if": "steps.no.outputs.a"}]}, "job.steps[0].if"),
        ({"builderEnvironment": {"env": {"X": "a\0b"}}}, "job.builderEnvironment.env.X"),
        ({"applicationArchivePath": "../app", "buildArtifactPaths": ["x"]}, "job.applicationArchivePath"),
        ({"applicationArchivePath": "app", "buildArtifactPaths": ["x", "../y"]}, "job.buildArtifactPaths[1]"),
        ({"buildArtifactPaths": ["../y"]}, "job.buildArtifactPaths[0]"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_task_is_said_by_the_keys_of_the_job(job: dict[str, Any], path: str) -> None:
    document = submission(Dispatch("b", {"steps": [{"run": "x"}]} | job), LauncherOptions()).document
    with pytest.raises(MalformedPayload) as caught:
        check_task(document, {"process": ProcessPlatform})
    assert [in_words_of_job(each, document).path for each in caught.value.complaints] == [path]
    again = [in_words_of_job(in_words_of_job(each, document), document).path for each in caught.value.complaints]
    assert again == [path], "a translated one stays as it is"
