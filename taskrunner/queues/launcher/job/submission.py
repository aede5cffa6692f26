"""A job as a task: steps in the project's folder, with its environment and secrets."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs
from attrs.validators import deep_mapping, matches_re

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import ENV_HINT, ENV_PATTERN
from taskrunner.model import Json, Submission
from taskrunner.queues.launcher.job.project_archive import source_of
from taskrunner.queues.launcher.job.step_script import BASE64_FILES, TEXT_FILES
from taskrunner.queues.launcher.job.steps import JobStep, task_steps
from taskrunner.queues.launcher.job.unknown_keys import unknown_keys, without_unknown
from taskrunner.queues.launcher.messages import Dispatch
from taskrunner.queues.launcher.options import LauncherOptions
from taskrunner.schema.decode import decode
from taskrunner.schema.task import collected
from taskrunner.steps.expansion import literally

ARCHIVE, ARTIFACTS = "application-archive", "build-artifacts"
"""The artifacts that a job may name, in the store."""

FOLDERS = {"process": "${RUN_FOLDER}/.tmp/launcher"}
"""Where a step finds its commands, by platform: among its temporary files, which git does not report."""
CONTAINER_FOLDER = "/tmp/.launcher"  # noqa: S108  of a container, where nobody else is


@attrs.frozen
class EnvironmentSecret:
    name: str = attrs.field(validator=matches_re(ENV_PATTERN), metadata={"hint": ENV_HINT})
    type: Literal["string", "file"]
    value: str = attrs.field(repr=False)
    """Of a file: its content in base64."""


@attrs.frozen
class BuilderEnvironment:
    env: Mapping[str, str] = attrs.field(
        factory=dict, validator=deep_mapping(matches_re(ENV_PATTERN)), metadata={"hint": ENV_HINT}
    )


@attrs.frozen
class JobSecrets:
    environmentSecrets: tuple[EnvironmentSecret, ...] = ()  # noqa: N815  the key of the protocol


@attrs.frozen
class LauncherJob:
    """The keys of a job that mean something here. Jobs have many more."""

    steps: tuple[JobStep, ...] = ()
    builderEnvironment: BuilderEnvironment = attrs.field(factory=BuilderEnvironment)  # noqa: N815  as above
    secrets: JobSecrets = attrs.field(factory=JobSecrets)
    projectArchive: Mapping[str, Json] = attrs.field(factory=dict)  # noqa: N815  as above
    applicationArchivePath: str = ""  # noqa: N815  as above
    buildArtifactPaths: tuple[str, ...] = ()  # noqa: N815  as above


STEP_KEYS = frozenset(field.name.rstrip("_") for field in attrs.fields(JobStep))
SECRET_KEYS = frozenset(field.name for field in attrs.fields(EnvironmentSecret))


def submission(dispatch: Dispatch, options: LauncherOptions) -> Submission:
    """The task of a job. What a variable may be called, and the like, is checked with every task.

    Raises: MalformedPayload with every complaint.
    """
    complaints: list[Complaint] = []
    job = decode(LauncherJob, _known(dispatch.job), "job")
    files = [secret for secret in job.secrets.environmentSecrets if secret.type == "file"]
    texts = {secret.name: text for secret in files if (text := _text_of(secret)) is not None}
    variables = _variables(files, texts)
    steps = collected(complaints, lambda: task_steps(job.steps, _folder(options), variables))
    source = collected(complaints, lambda: source_of(job.projectArchive, options))
    complaints += _secret_complaints(job.secrets.environmentSecrets)
    if complaints:
        raise MalformedPayload(*complaints)
    document: dict[str, Any] = {
        "platform": options.platform,
        "name": f"build {dispatch.build_id}",
        "steps": steps,
        "env": _environment(job),
        "secrets": {secret.name: secret.value for secret in job.secrets.environmentSecrets} | texts,
        "artifacts": list(_artifacts(job)),
        "max_run_time": options.max_run_time,
        "metadata": {"project": dispatch.project_id, "user": dispatch.user_id},
    }
    document |= {"source": source} if source else {}
    document |= {"image": options.image} if options.image else {}
    document |= {"separate_stderr": True} if options.platform == "process" else {}
    return Submission(dispatch.build_id, document, retries=0)


def _known(job: Mapping[str, Any]) -> dict[str, Any]:
    """Without keys that mean nothing here, and without those that are null: an optional key may be."""
    known = {field.name for field in attrs.fields(LauncherJob)}
    kept = {key: value for key, value in job.items() if key in known and value is not None}
    for key in ("builderEnvironment", "secrets"):
        if isinstance(kept.get(key), dict):
            own = {"env", "environmentSecrets"}
            kept[key] = {name: value for name, value in kept[key].items() if name in own and value is not None}
    if isinstance(secrets := kept.get("secrets"), dict) and "environmentSecrets" in secrets:
        secrets["environmentSecrets"] = without_unknown(secrets["environmentSecrets"], SECRET_KEYS)
    if "steps" in kept:
        kept["steps"] = without_unknown(kept["steps"], STEP_KEYS)
    return kept


def ignored_keys(job: Mapping[str, Any]) -> list[str]:
    """The paths of keys of steps and secrets that mean nothing here. Raises nothing."""
    secrets = job.get("secrets")
    listed = secrets.get("environmentSecrets") if isinstance(secrets, Mapping) else None
    return [
        *unknown_keys(job.get("steps"), "job.steps", STEP_KEYS),
        *unknown_keys(listed, "job.secrets.environmentSecrets", SECRET_KEYS),
    ]


def _folder(options: LauncherOptions) -> str:
    return FOLDERS.get(options.platform, CONTAINER_FOLDER)


def _environment(job: LauncherJob) -> dict[str, str]:
    """A secret replaces a variable of its name."""
    secrets = {secret.name for secret in job.secrets.environmentSecrets}
    return {n: literally(value) for n, value in job.builderEnvironment.env.items() if n not in secrets}


def _variables(files: list[EnvironmentSecret], texts: Mapping[str, str]) -> dict[str, str]:
    """What the script before each step must know of the secrets that are files."""
    others = [secret.name for secret in files if secret.name not in texts]
    named = {TEXT_FILES: " ".join(texts), BASE64_FILES: " ".join(others)}
    return {name: value for name, value in named.items() if value}


def _text_of(secret: EnvironmentSecret) -> str | None:
    """The content of a file that a variable can hold. It is masked as it is written, and as base64. None of a file that
    only base64 can hold."""
    try:
        text = b64decode(secret.value, validate=True).decode()
    except ValueError:
        return None
    return text if text and "\0" not in text else None


def _secret_complaints(secrets: tuple[EnvironmentSecret, ...]) -> Iterator[Complaint]:
    for index, secret in enumerate(secrets):
        path = f"job.secrets.environmentSecrets[{index}]"
        if any(secret.name == earlier.name for earlier in secrets[:index]):
            yield Complaint(f"{path}.name", f"{secret.name} is the name of an earlier secret", "take another one")
        if not secret.value:
            yield Complaint(f"{path}.value", "is empty", "leave the secret out")
        elif secret.type == "file" and not _is_base64(secret.value):
            yield Complaint(f"{path}.value", "is no base64", "encode the content of the file")
        elif "\0" in secret.value:
            yield Complaint(f"{path}.value", "holds a zero byte", "encode it, for instance as base64")


def _is_base64(value: str) -> bool:
    try:
        b64decode(value, validate=True)
    except ValueError:
        return False
    return True


def _artifacts(job: LauncherJob) -> Iterator[dict[str, Json]]:
    if job.applicationArchivePath:
        yield {"name": ARCHIVE, "path": job.applicationArchivePath, "optional": True}
    for number, path in enumerate(job.buildArtifactPaths):
        name = ARTIFACTS if len(job.buildArtifactPaths) == 1 else f"{ARTIFACTS}/{number}"
        yield {"name": name, "path": path, "optional": True}
