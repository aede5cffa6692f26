"""Refuses a repository that the rules of the worker's configuration do not allow."""

from __future__ import annotations

import os

import attrs

from taskrunner.errors import TaskFailed
from taskrunner.schema.repositories import RepositoryRules
from taskrunner_git.remote import Remote

REASON = "source-refused"


def check_remote(remote: Remote, rules: RepositoryRules) -> None:
    """Of a path on this machine, the real one without links must be allowed too. One that is not allowed gets the same
    error whether it exists or not. Blocks.

    Raises: TaskFailed `source-refused`.
    """
    complaint = rules.refusal(remote)
    if complaint is None and remote.scheme == "file":
        real = attrs.evolve(remote, path=os.path.realpath(remote.path))
        if not attrs.evolve(rules, patterns=tuple(map(_real, rules.patterns))).allows(real):
            complaint = RepositoryRules((), rules.setting).refusal(remote)
    if complaint is not None:
        raise TaskFailed(REASON, f"source: {complaint.problem} ({complaint.fix})")


def _real(pattern: str) -> str:
    """A pattern for paths, without links in the folders before the first `*`."""
    path = pattern.removeprefix("file://")
    if not path.startswith("/"):
        return pattern
    folder, star, rest = path.partition("*")
    if not star:
        return os.path.realpath(path)
    above, _, begin = folder.rpartition("/")
    return f"{os.path.realpath(above or '/').rstrip('/')}/{begin}*{rest}"
