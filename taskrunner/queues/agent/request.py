"""A request as a task: a command in the checkout of a commit, with the environment of the request and nothing else."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import LONGEST_NAME
from taskrunner.model import Json, Submission
from taskrunner.queues.agent.archive import PREFIX
from taskrunner.queues.agent.options import AgentOptions
from taskrunner.schema.repositories import RepositoryRules
from taskrunner.steps.expansion import literally
from taskrunner.url_secrets import without_password

ARTIFACTS = "FASTLANE_CI_ARTIFACTS"
"""The variable with the folder in which the command leaves its artifacts."""

FOLDER = ".tmp/artifacts"
"""This folder, in that of the run: among its temporary files, which git does not report."""

COMMAND = ("/bin/sh", "-c", f'command -p mkdir -p "${ARTIFACTS}" && exec "$0" "$@"')
"""Makes the folder and becomes the command, which is an argument vector to the end. With `-p`, the shell finds `mkdir`
whatever the `PATH` of the request is."""


def submission(request: Any, options: AgentOptions) -> Submission:
    """The task of an `InvocationRequest`. What a variable may be called, and the like, is checked with every task.

    Raises: MalformedPayload with every complaint.
    """
    command = request.command
    env = dict(command.env)
    repository, password = without_password(env.get("GIT_URL", ""))
    if complaints := list(_complaints(command.bin, env, repository, options)):
        raise MalformedPayload(*complaints)
    source: dict[str, Json] = {"repository": repository, "ref": env["GIT_SHA"]}
    if password:
        source["token"] = password
    document: dict[str, Json] = {
        "platform": "process",
        "name": _one_line(f"{env.get('JOB_NAME', '')} {env.get('BUILD_NUMBER', '')}"),
        "source": source,
        "command": [*COMMAND, command.bin, *command.parameters],
        "separate_stderr": True,
        "env": {name: literally(value) for name, value in env.items()} | {ARTIFACTS: f"${{RUN_FOLDER}}/{FOLDER}"},
        "artifacts": [{"name": PREFIX.rstrip("/"), "path": FOLDER, "optional": True}],
        "max_run_time": options.max_run_time,
    }
    return Submission(_task_id(env), document, retries=0)


def _complaints(program: str, env: Mapping[str, str], repository: str, options: AgentOptions) -> Iterator[Complaint]:
    if not program:
        yield Complaint("command.bin", "names no program", "send the program and its arguments one by one")
    for name in ("GIT_URL", "GIT_SHA"):
        if not env.get(name):
            yield Complaint(f"command.env.{name}", "is missing", "say which commit to check out")
    rules = RepositoryRules(options.repositories, "`repositories` in [queue.agent]")
    if repository and (refused := rules.complaint(repository, "command.env.GIT_URL")):
        yield refused


def _task_id(env: Mapping[str, str]) -> str:
    """Says which build it is, and is unique: a build that is sent again is another task."""
    words = re.findall(r"[A-Za-z0-9]+", f"{env.get('JOB_NAME', '')} {env.get('BUILD_NUMBER', '')}"[:60])
    return "-".join(["agent", *words, secrets.token_hex(6)])


def _one_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text[:LONGEST_NAME]).split())
