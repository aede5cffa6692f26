"""A job as a task: an image is built of a branch, and pushed."""

from __future__ import annotations

import posixpath
import re
import secrets
from collections.abc import Iterator
from typing import Any

import attrs

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import LONGEST_NAME
from taskrunner.model import Json, Submission
from taskrunner.queues.orchestrator.options import ECR, OrchestratorOptions
from taskrunner.queues.orchestrator.steps import ImageStep
from taskrunner.schema.repositories import RepositoryRules

MAX_JOB_ID = 256
"""Characters. It stands in every response."""

OWNER_AND_NAME = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)+")
"""More than one owner where a server has groups within groups."""

STEP_OF_FIELD = {"repoUrl": ImageStep.CLONE, "imageName": ImageStep.PUSH}
"""What a job fails at that has a mistake in the field; at the build by all others."""


@attrs.frozen
class OrchestratorJob:
    """A job as the worker takes it."""

    submission: Submission
    aws: bool = True
    """Whether the image goes to Amazon's registry."""


def job_of(request: Any, options: OrchestratorOptions) -> OrchestratorJob:
    """The job of a `JobRequest`. What an image or a branch may be called is checked with every task.

    Raises: MalformedPayload with every complaint.
    """
    if complaints := list(_complaints(request, options)):
        raise MalformedPayload(*complaints)
    context = _inner_path(request.contextDir)
    document: dict[str, Json] = {
        "platform": "docker",
        "name": " ".join(f"{request.jobId} {request.repoUrl}".split())[:LONGEST_NAME],
        "source": _source(request, options),
        "build": {
            "context": context,
            "dockerfile": _below(context, _inner_path(request.dockerfilePath or "Dockerfile")),
            "tags": [request.imageName],
            "push": True,
            "registry": options.registry,
        },
        "max_run_time": options.max_run_time,
    }
    aws = options.registry == ECR and not _registry(request.imageName)
    return OrchestratorJob(Submission(_task_id(request.jobId), document, retries=0), aws)


def failed_step(complaints: tuple[Complaint, ...]) -> ImageStep:
    """Where a job fails with these complaints: at the first one."""
    return STEP_OF_FIELD.get(complaints[0].path, ImageStep.BUILD)


def _complaints(request: Any, options: OrchestratorOptions) -> Iterator[Complaint]:
    if not OWNER_AND_NAME.fullmatch(request.repoUrl):
        yield Complaint("repoUrl", f"{request.repoUrl[:200]!r} is no owner/repo", "send owner/repo, and no URL")
    elif refused := _rules(options).complaint(_repository(request.repoUrl, options), "repoUrl"):
        yield refused
    if not request.jobId or len(request.jobId) > MAX_JOB_ID or not request.jobId.isprintable():
        yield Complaint("jobId", "is no id", f"send 1 to {MAX_JOB_ID} printable characters")
    registry = _registry(request.imageName)
    if not request.imageName:
        yield Complaint("imageName", "is empty", "name the image: team/app:1.0")
    elif registry and registry not in {options.registry, *options.registries}:
        fix = "its operator sets `registries` in [queue.orchestrator]"
        yield Complaint("imageName", f"{registry} is not among the registries that this worker allows", fix)


def _rules(options: OrchestratorOptions) -> RepositoryRules:
    return RepositoryRules(options.repositories, "`repositories` in [queue.orchestrator]")


def _repository(name: str, options: OrchestratorOptions) -> str:
    return f"{options.repository_base.rstrip('/')}/{name.removesuffix('.git')}.git"


def _source(request: Any, options: OrchestratorOptions) -> dict[str, Json]:
    """As `git clone --branch` fetches it, which leaves submodules out."""
    source: dict[str, Json] = {
        "repository": _repository(request.repoUrl, options),
        "ref": request.branch,
        "submodules": False,
    }
    return source | {"token": request.githubToken} if request.githubToken else source


def _registry(image: str) -> str:
    """The registry in front of an image's name, as Docker finds it; empty when there is none. A part with a capital can
    be nothing else: names have none."""
    first, slash, _ = image.partition("/")
    named = "." in first or ":" in first or first == "localhost" or first != first.lower()
    return first if slash and named else ""


def _inner_path(path: str) -> str:
    """A path below the repository's root, which orchestrators write as `/`, `/app`, `./app` or `app`. One that leaves
    it stays as it is, and is refused with the task."""
    return posixpath.normpath(path.lstrip("/") or ".")


def _below(context: str, dockerfile: str) -> str:
    """The path of the Dockerfile below the context. Orchestrators send it from there, or from the repository's root."""
    return dockerfile.removeprefix(f"{context}/")


def _task_id(job_id: str) -> str:
    """Says which job it is, and is unique: a job that is sent again is another task."""
    words = re.findall(r"[A-Za-z0-9]+", job_id[:60])
    return "-".join(["job", *words, secrets.token_hex(6)])
