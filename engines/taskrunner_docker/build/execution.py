"""A build that runs, and its end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping
from typing import Any

from taskrunner.errors import Bug, TaskFailedInternally, Unavailable
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.results import Results
from taskrunner_docker.build.job import BuildJob
from taskrunner_docker.build.results import BuildResults
from taskrunner_docker.buildkit import BuildOutcome
from taskrunner_docker.cleanup.removal import remove_tag
from taskrunner_source import FetchedSource

_NO_LOGIN = re.compile(r"cannot be pulled.*(?:401|403|denied|authorization|basic auth)", re.IGNORECASE | re.DOTALL)
_LOGIN_ADVICE = "check the login for its registry in [docker.registries] of the worker's configuration"


class BuildExecution(Execution):
    """One build that runs. It ends with its connection to Docker, and so with this worker at the latest."""

    def __init__(self, job: BuildJob, building: Coroutine[Any, Any, BuildOutcome], source: FetchedSource) -> None:
        self._job, self._source = job, source
        self._aborted = False
        self._building = asyncio.create_task(building)
        self._ending = asyncio.create_task(self._end())

    async def wait(self) -> Results:
        await asyncio.wait({self._ending})
        if self._aborted:
            raise Bug("a build that was aborted has no results")
        return self._ending.result()

    async def kill(self) -> Results:
        self._building.cancel()
        try:
            return await self.wait()
        except Unavailable as error:
            raise TaskFailedInternally(str(error)) from error

    async def abort(self) -> None:
        self._aborted = True
        self._building.cancel()
        await asyncio.wait({self._ending})
        await remove_tag(self._job.client, self._job.tag)

    async def _end(self) -> BuildResults:
        """Never cancelled: only the build is, so that the source is released however it ends."""
        await asyncio.wait({self._building})
        source = self._source.identity
        await self._source.release()
        if self._building.cancelled():
            return BuildResults(self._job, source, exit_code=1, reason="killed", message="the build was stopped")
        return _results(self._job, source, self._building.result())


def _results(job: BuildJob, source: Mapping[str, str], outcome: BuildOutcome) -> BuildResults:
    if outcome.image_id:
        return BuildResults(job, source, exit_code=0, image_id=outcome.image_id)
    step = f"build failed at {outcome.failed_step}" if outcome.failed_step else "build failed"
    advice = f"; {_LOGIN_ADVICE}" if _NO_LOGIN.search(outcome.error) else ""
    return BuildResults(job, source, exit_code=1, reason="build-failed", message=f"{step}: {outcome.error}{advice}")
