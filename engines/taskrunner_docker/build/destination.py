"""Where a built image goes: the full names of its tags, and the login for them."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from taskrunner.model import Progress
from taskrunner_docker.build.job import BuildJob
from taskrunner_docker.registry.references import names_registry

LOGIN = "login"
"""The step in the progress of a build in which Amazon is asked for its registry."""


async def find_destination(job: BuildJob) -> tuple[BuildJob, Sequence[str]]:
    """The tags with their registry in front, and the job with the login for it. Amazon is asked at the end of a build,
    since its logins expire.

    Raises: TaskFailed (`login-failed`), Unavailable.
    """
    spec = job.spec
    if not spec.registry or all(map(names_registry, spec.tags)):
        return job, spec.tags
    job.context.progress(Progress(LOGIN, 0, 1, unit=""))
    host, registries = await job.transfers.registries.at(spec.registry)
    job.context.progress(Progress(LOGIN, 1, 1, unit=""))
    names = [tag if names_registry(tag) else f"{host}/{tag}" for tag in spec.tags]
    return attrs.evolve(job, transfers=attrs.evolve(job.transfers, registries=registries)), names
