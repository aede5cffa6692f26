"""Complaints about the task of a job, as who has sent the job can read them: by the keys of the job."""

from __future__ import annotations

import re
from typing import Any

import attrs

from taskrunner.errors import Complaint
from taskrunner.model import Document
from taskrunner.queues.launcher.job.submission import ARCHIVE, ARTIFACTS

_ARTIFACT = re.compile(r"artifacts\[(\d+)\]\.path")


def in_words_of_job(complaint: Complaint, document: Document) -> Complaint:
    """Source and secrets have been checked with the job. A complaint about nothing of the job stays as it is."""
    return attrs.evolve(complaint, path=_path(complaint.path, document))


def _path(path: str, document: Document) -> str:
    kind = path.partition(".")[0]
    if kind.startswith("steps["):
        return f"job.{path}".replace(".working_dir", ".working_directory")
    if kind == "env":
        return f"job.builderEnvironment.{path}"
    found = _ARTIFACT.fullmatch(path)
    return _artifact(int(found[1]), document) if found else path


def _artifact(index: int, document: Document) -> str:
    """`submission` has named the artifacts."""
    artifacts: Any = document["artifacts"]
    name = str(artifacts[index]["name"])
    if name == ARCHIVE:
        return "job.applicationArchivePath"
    return f"job.buildArtifactPaths[{name.removeprefix(ARTIFACTS).removeprefix('/') or 0}]"
