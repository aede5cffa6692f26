"""Where the files of a project come from, as the source of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.model import Json
from taskrunner.queues.launcher.options import LauncherOptions
from taskrunner.schema.repositories import RepositoryRules
from taskrunner.url_secrets import without_password

PATH = "job.projectArchive"
KINDS = "write NONE, URL, PATH or GIT"


def source_of(archive: Mapping[str, Json], options: LauncherOptions) -> dict[str, Any]:
    """The `source` of the task; empty when the project has no files.

    Raises: MalformedPayload.
    """
    match archive.get("type"):
        case None if not archive:
            return {}
        case "NONE":
            return {}
        case "URL":
            return _archive(_text(archive, "url"), "url", options, scheme="http")
        case "PATH":
            return _archive(_text(archive, "path"), "path", options, scheme="/")
        case "GIT":
            return _repository(archive, options)
        case _:
            raise MalformedPayload(Complaint(f"{PATH}.type", "is not known", KINDS))


def _archive(url: str, key: str, options: LauncherOptions, scheme: str) -> dict[str, Any]:
    """A query is often a signature, and no part of what a rule allows."""
    rules = RepositoryRules(options.archives, "`archives` in [queue.launcher]")
    path = f"{PATH}.{key}"
    if not url.startswith(scheme):
        fix = "write a full path" if scheme == "/" else "write an https:// URL"
        raise MalformedPayload(Complaint(path, "is not of this type", fix))
    bare, password = without_password(url)
    if refused := rules.complaint(bare.partition("?")[0], path):
        raise MalformedPayload(refused)
    return {"archive": bare, "strip": 1} | ({"token": password} if password else {})


def _repository(archive: Mapping[str, Json], options: LauncherOptions) -> dict[str, Any]:
    """A commit is more exact than a name, which may have moved since."""
    repository, password = without_password(_text(archive, "repositoryUrl"))
    rules = RepositoryRules(options.repositories, "`repositories` in [queue.launcher]")
    if refused := rules.complaint(repository, f"{PATH}.repositoryUrl"):
        raise MalformedPayload(refused)
    if archive.get("gitCommitHash") is None:
        ref = _text(archive, "gitRef").removeprefix("refs/heads/").removeprefix("refs/tags/")
    else:
        ref = _text(archive, "gitCommitHash")
    return {"repository": repository, "ref": ref} | ({"token": password} if password else {})


def _text(archive: Mapping[str, Json], key: str) -> str:
    value = archive.get(key)
    if not isinstance(value, str) or not value:
        raise MalformedPayload(Complaint(f"{PATH}.{key}", "is no text", "add it"))
    return value
