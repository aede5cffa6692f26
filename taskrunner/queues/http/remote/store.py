"""RemoteStore: the artifacts and logs of the runs of another machine, to be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs

from taskrunner.errors import NotSupported
from taskrunner.interfaces.artifacts import INDEX_NAME, LOG_NAME, ArtifactStore, check_artifact_name
from taskrunner.model import Artifact, RunKey
from taskrunner.queues.http.remote.answers import view_of
from taskrunner.queues.http.views import ArtifactList

if TYPE_CHECKING:
    from taskrunner.queues.http.remote.client import Connection


@attrs.define(eq=False)
class RemoteStore(ArtifactStore):
    """Of the server of one connection, which is not its own to close."""

    connection: Connection

    async def put(self, *_: Any, **__: Any) -> Artifact:
        raise NotSupported("artifacts are put by the worker of the run")

    async def put_log(self, *_: Any) -> None:
        raise NotSupported("a log is put by the worker of the run")

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        check_artifact_name(name)
        path = f"/tasks/{run.task_id}/{_path(name)}"
        params = {"run": run.run_id, "offset": offset}
        async with self.connection.request("GET", path, params=params) as response:
            async for piece in response.aiter_raw():
                yield piece

    async def list(self, run: RunKey) -> list[Artifact]:
        answer = await self.connection.get(f"/tasks/{run.task_id}/artifacts", run=run.run_id)
        return list(view_of(ArtifactList, answer).artifacts)


def _path(name: str) -> str:
    return name if name in {LOG_NAME, INDEX_NAME} else f"artifacts/{quote(name)}"
