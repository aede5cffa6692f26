"""The operations of the API over a queue whose workers have their homes on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from taskrunner.history.events import FollowedEvents
from taskrunner.history.run_log import RunLog
from taskrunner.history.run_story import read_story
from taskrunner.interfaces.queue import Submitter
from taskrunner.model import RunKey, RunStory
from taskrunner.queues.http.admission import SubmissionCheck
from taskrunner.queues.http.artifacts import ServedArtifacts, streamed
from taskrunner.queues.http.event_stream import EventStream
from taskrunner.queues.http.operations import BYTES, PREFIX
from taskrunner.queues.http.progress import ProgressBoard
from taskrunner.queues.http.requests import Parameters, read_document, read_view
from taskrunner.queues.http.views import Counts, Done, IdList, Message, StoryView, TaskList, TaskView, plain

MOST_LISTED = 1000


@attrs.frozen
class Endpoints:
    """One method for each of OPERATIONS."""

    tasks: Submitter
    admission: SubmissionCheck
    served: ServedArtifacts
    board: ProgressBoard

    async def submit_new(self, request: Request) -> Response:
        return await self._submit(request, "")

    async def submit(self, request: Request) -> Response:
        return await self._submit(request, request.path_params["id"])

    async def _submit(self, request: Request, task_id: str) -> Response:
        Parameters(request, ())
        submission = self.admission.submission(await read_document(request), task_id)
        is_new = await self.tasks.submit(submission)
        where = {"Location": f"{PREFIX}/tasks/{quote(submission.task_id)}"}
        status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
        return JSONResponse(plain(await self._view(submission.task_id)), status, where)

    async def list_tasks(self, request: Request) -> Response:
        limit = Parameters(request, ("limit",)).number("limit", 100, 1, MOST_LISTED)
        views = [TaskView.of(status) async for status in self.tasks.list(limit=limit or 1)]
        return JSONResponse(plain(TaskList(tuple(views))))

    async def status(self, request: Request) -> Response:
        Parameters(request, ())
        return JSONResponse(plain(await self._view(request.path_params["id"])))

    async def cancel(self, request: Request) -> Response:
        Parameters(request, ())
        task_id, message = request.path_params["id"], await read_view(request, Message)
        done = await self.tasks.cancel(task_id, message.message)
        return JSONResponse(plain(Done(done, await self._view(task_id))))

    async def retry(self, request: Request) -> Response:
        Parameters(request, ())
        task_id = request.path_params["id"]
        done = await self.tasks.retry(task_id)
        return JSONResponse(plain(Done(done, await self._view(task_id))))

    async def follow(self, request: Request) -> Response:
        with_log = Parameters(request, ("log",)).flag("log", default=True)
        task_id = request.path_params["id"]
        await self.tasks.status(task_id)  # an unknown task is refused before the stream begins
        stream = EventStream(FollowedEvents(self.tasks, self.served.open_store), self.board)
        return stream.response(task_id, request.headers.get("last-event-id", ""), log=with_log)

    async def log(self, request: Request) -> Response:
        known = Parameters(request, ("run", "offset", "follow"))
        log, offset, live = await self._log(request, known), known.number("offset", 0) or 0, known.flag("follow")
        return await streamed(log.pieces(offset, live=live) if log else _nothing(), BYTES)

    async def log_index(self, request: Request) -> Response:
        known = Parameters(request, ("run", "offset"))
        log, offset = await self._log(request, known), known.number("offset", 0) or 0
        return await streamed(log.whole_index(offset) if log else _nothing(), BYTES)

    async def story(self, request: Request) -> Response:
        home, run = await self._run(request, Parameters(request, ("run",)))
        view = StoryView(run.run_id, read_story(home, run)) if run else StoryView(0, RunStory())
        return JSONResponse(plain(view))

    async def artifacts(self, request: Request) -> Response:
        run = await self._run(request, Parameters(request, ("run",)))
        return JSONResponse(plain(await self.served.listed(*run)))

    async def artifact(self, request: Request) -> Response:
        known = Parameters(request, ("run", "offset"))
        run = await self._run(request, known)
        return await self.served.fetched(*run, request.path_params["name"], known.number("offset", 0) or 0)

    async def counts(self, request: Request) -> Response:
        Parameters(request, ())
        return JSONResponse(plain(Counts(await self.tasks.pending())))

    async def matching(self, request: Request) -> Response:
        known = Parameters(request, ("prefix", "limit"))
        ids = await self.tasks.matching(known.text("prefix"), limit=known.number("limit", 10, 1, MOST_LISTED) or 1)
        return JSONResponse(plain(IdList(tuple(ids))))

    async def _view(self, task_id: str) -> TaskView:
        return TaskView.of(await self.tasks.status(task_id))

    async def _log(self, request: Request, known: Parameters) -> RunLog | None:
        status, run = await self.served.run(request.path_params["id"], known.number("run"))
        return RunLog(self.tasks, self.served.open_store, status, run) if run else None

    async def _run(self, request: Request, known: Parameters) -> tuple[Path, RunKey | None]:
        return await self.served.home_of(request.path_params["id"], known.number("run"))


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece
