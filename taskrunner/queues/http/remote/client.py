"""HttpSubmitter: the tasks of a worker on another machine, for the verbs of the command line.

A stream that breaks is asked for again, from where it was: a server that is restarted, or a network that fails for a
while, does not end a `wait`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote, urlsplit

import attrs
import httpx

from taskrunner.errors import ConfigError, Unavailable
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.plugin import QueueContext
from taskrunner.interfaces.queue import Submitter
from taskrunner.model import Json, RunKey, RunStory, Submission, TaskStatus
from taskrunner.queues.http.operations import PREFIX
from taskrunner.queues.http.options import HttpOptions
from taskrunner.queues.http.remote.answers import checked, view_of
from taskrunner.queues.http.remote.store import RemoteStore
from taskrunner.queues.http.views import Counts, Done, IdList, StoryView, TaskList, TaskView
from taskrunner.queues.submission import check_submission
from taskrunner.schema.task import submission_of

TIMEOUT = httpx.Timeout(30.0, read=60.0)
"""Seconds. A stream of events says something every 15."""

RETRY_EVERY, RETRIES = 1.0, 60
"""Seconds between two tries to go on with a stream that has broken, and how many follow each other without success."""


@attrs.define(eq=False)
class Connection:
    """Requests to one server."""

    url: str
    http: httpx.AsyncClient

    @asynccontextmanager
    async def request(self, method: str, path: str, **more: Any) -> AsyncIterator[httpx.Response]:
        """An answer whose body has not been read. Raises the errors that `checked` names."""
        try:
            async with self.http.stream(method, PREFIX + path, **more) as response:
                yield await checked(response)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.url} does not answer: {str(error) or type(error).__name__}") from None

    async def get(self, path: str, **params: Any) -> Any:
        return await self.send("GET", path, params=params)

    async def send(self, method: str, path: str, **more: Any) -> Any:
        """The JSON of an answer."""
        async with self.request(method, path, **more) as response:
            body = await response.aread()
        try:
            return json.loads(body)
        except ValueError:
            raise Unavailable(f"{self.url} answers with something else than JSON") from None


class HttpSubmitter(Submitter):
    """The other side of `HttpQueue`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._store = RemoteStore(connection)

    @property
    def address(self) -> str:
        """For people: the URL of the server."""
        return self._connection.url

    @classmethod
    def of(cls, options: HttpOptions, context: QueueContext) -> Self:
        """Connects at the first request. Raises ConfigError."""
        parts = urlsplit(context.url)
        if "@" in parts.netloc:
            raise ConfigError("the URL has no user or password (set `token` of this queue)")
        if parts.path.strip("/") or parts.fragment or not parts.hostname:
            raise ConfigError("the URL is that of a server, without a path: http://HOST:PORT")
        url = f"{parts.scheme}://{parts.netloc}"
        headers = {"Authorization": f"Bearer {context.reveal(options.token)}"} if options.token else {}
        verify = _authorities(options.ca_file) if parts.scheme == "https" else False
        try:
            http = httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT, verify=verify, trust_env=False)
        except httpx.InvalidURL as error:
            raise ConfigError(f"the URL is that of no server ({error}): write http://HOST:PORT") from None
        return cls(Connection(url, http))

    async def submit(self, submission: Submission) -> bool:
        check_submission(submission)  # an id that is none would lead to another place of the server
        path = f"/tasks/{_quoted(submission.task_id)}"
        async with self._connection.request("PUT", path, json=_document(submission)) as response:
            await response.aread()
            return response.status_code == httpx.codes.CREATED

    async def cancel(self, task_id: str, message: str = "") -> bool:
        path = f"/tasks/{_quoted(task_id)}/cancel"
        return view_of(Done, await self._connection.send("POST", path, json={"message": message})).done

    async def retry(self, task_id: str) -> bool:
        return view_of(Done, await self._connection.send("POST", f"/tasks/{_quoted(task_id)}/retry")).done

    async def status(self, task_id: str) -> TaskStatus:
        return self._status(view_of(TaskView, await self._connection.get(f"/tasks/{_quoted(task_id)}")))

    async def pending(self) -> int:
        return view_of(Counts, await self._connection.get("/counts")).pending

    async def matching(self, prefix: str, *, limit: int = 10) -> Sequence[str]:
        return view_of(IdList, await self._connection.get("/ids", prefix=prefix, limit=limit)).ids

    async def list(self, *, limit: int = 100) -> AsyncIterator[TaskStatus]:
        for view in view_of(TaskList, await self._connection.get("/tasks", limit=min(limit, 1000))).tasks:
            yield self._status(view)

    async def watch(self, task_id: str) -> AsyncIterator[TaskStatus]:
        failures, last = 0, None
        while last is None or last.state != "resolved":
            try:
                async for status in self._statuses(task_id):
                    failures = 0
                    if status != last:
                        last = status
                        yield status
            except Unavailable:
                if last is None or (failures := failures + 1) > RETRIES:
                    raise
                await asyncio.sleep(RETRY_EVERY)

    async def watch_log(
        self, task_id: str, run_id: int, offset: int = 0, *, follow: bool = True
    ) -> AsyncIterator[bytes]:
        path, failures, begun = f"/tasks/{_quoted(task_id)}/log", 0, False
        while True:
            params = {"run": run_id, "offset": offset, "follow": "true" if follow else "false"}
            try:
                async with self._connection.request("GET", path, params=params, timeout=_waiting(follow)) as response:
                    begun = True
                    async for piece in response.aiter_raw():
                        offset, failures = offset + len(piece), 0
                        yield piece
                    return
            except Unavailable:
                if not begun or (failures := failures + 1) > RETRIES:
                    raise
                await asyncio.sleep(RETRY_EVERY)

    async def run_story(self, run: RunKey) -> RunStory:
        answer = await self._connection.get(f"/tasks/{_quoted(run.task_id)}/story", run=run.run_id)
        return view_of(StoryView, answer).story

    def remote_store(self) -> ArtifactStore | None:
        return self._store

    async def close(self) -> None:
        await self._connection.http.aclose()

    async def _statuses(self, task_id: str) -> AsyncIterator[TaskStatus]:
        path = f"/tasks/{_quoted(task_id)}/events"
        async with self._connection.request("GET", path, params={"log": "false"}) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    yield self._status(view_of(TaskView, _json(line.removeprefix("data: "))))

    def _status(self, view: TaskView) -> TaskStatus:
        return view.status(self._connection.url)


def _waiting(follow: bool) -> httpx.Timeout:
    """A log that goes on may be silent for hours; the connection itself is asked whether it lives."""
    return httpx.Timeout(30.0, read=None) if follow else TIMEOUT


def _document(submission: Submission) -> dict[str, Json]:
    """The server reads from the document what a queue itself reads. What a program has set beside it is put there."""
    document = dict(submission.document)
    read = submission_of({**document, "id": "any"})
    for name in ("priority", "retries", "not_before", "deadline"):
        value = getattr(submission, name)
        if value != getattr(read, name):
            document[name] = value.isoformat() if isinstance(value, datetime) else value
    return document


def _quoted(task_id: str) -> str:
    return quote(task_id, safe="") or "-"


def _json(text: str) -> Mapping[str, Any]:
    try:
        return json.loads(text)  # type: ignore[no-any-return]  # `view_of` checks it
    except ValueError:
        raise Unavailable("the server sends events that are no JSON") from None


def _authorities(path: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path or None)
    except (OSError, ssl.SSLError):
        raise ConfigError(f"ca_file: {path} is no file of certificates that can be read") from None
