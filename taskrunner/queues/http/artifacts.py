"""The artifacts of runs, served from the store of their workers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path

import attrs
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.history.run_log import OpenStore, worker_home
from taskrunner.interfaces.artifacts import check_new_name
from taskrunner.interfaces.queue import Submitter
from taskrunner.model import Artifact, RunKey, TaskStatus
from taskrunner.queues.http.views import ArtifactList

MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w-]+=[\w.-]+)*", re.ASCII)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Disposition": "attachment",
    "Cache-Control": "no-store",
}
"""What a task wrote is no page of this server, whatever it calls itself."""


@attrs.frozen
class ServedArtifacts:
    """Finds the run that a request names, and what its store has."""

    tasks: Submitter
    open_store: OpenStore

    async def run(self, task_id: str, run_id: int | None) -> tuple[TaskStatus, RunKey | None]:
        """The run of that number, or the last one; None when there is none yet.

        Raises: UnknownTask, MalformedPayload (no such run).
        """
        status = await self.tasks.status(task_id)
        known = [run.run_id for run in status.runs]
        if run_id is not None and run_id not in known:
            raise MalformedPayload(Complaint("query.run", f"the task has no run {run_id}", f"it has {known}"))
        return status, RunKey(task_id, known[-1] if run_id is None else run_id) if known else None

    async def home_of(self, task_id: str, run_id: int | None) -> tuple[Path, RunKey | None]:
        status, run = await self.run(task_id, run_id)
        return worker_home(status, run), run

    async def listed(self, home: Path, run: RunKey | None) -> ArtifactList:
        if run is None:
            return ArtifactList(0, ())
        async with self.open_store(home) as store:
            return ArtifactList(run.run_id, tuple(await store.list(run)))

    async def fetched(self, home: Path, run: RunKey | None, name: str, offset: int) -> Response:
        """Raises: FileNotFoundError, MalformedPayload (what cannot be a name), Unavailable."""
        try:
            check_new_name(name)
        except ValueError as error:
            raise MalformedPayload(Complaint("name", str(error))) from None
        if run is None:
            raise FileNotFoundError(name)
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(self.open_store(home))
            artifact = next((each for each in await store.list(run) if each.name == name), None)
            if artifact is None:
                raise FileNotFoundError(name)
            if offset > artifact.size:
                raise HTTPException(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "the artifact ends before this offset")
            body = _closing(store.get(run, name, offset=offset), stack.pop_all())
            return await streamed(body, _media_type(artifact), _headers(artifact, offset))
        raise FileNotFoundError(name)


def _media_type(artifact: Artifact) -> str:
    found = MEDIA_TYPE.fullmatch(artifact.content_type)
    return artifact.content_type if found else "application/octet-stream"


def _headers(artifact: Artifact, offset: int) -> dict[str, str]:
    tag = {"ETag": f'"{artifact.sha256}"'} if artifact.sha256 and artifact.sha256.isalnum() else {}
    return {"Content-Length": str(artifact.size - offset), **tag}


async def streamed(body: AsyncIterator[bytes], media_type: str, headers: dict[str, str] | None = None) -> Response:
    """Its first piece is read before the answer begins, so that an error gets a status of its own."""
    first = await anext(body, b"")
    return StreamingResponse(_with_first(first, body), HTTPStatus.OK, HEADERS | (headers or {}), media_type)


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in rest:
        yield piece


async def _closing(body: AsyncIterator[bytes], stack: AsyncExitStack) -> AsyncIterator[bytes]:
    async with stack:
        async for piece in body:
            yield piece
