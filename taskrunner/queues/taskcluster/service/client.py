"""The calls of Taskcluster's services, by the Taskcluster client, with the errors of this project."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin

import aiohttp
import attrs
from taskcluster.aio import Auth, Index, Queue
from taskcluster.exceptions import TaskclusterAuthFailure, TaskclusterFailure, TaskclusterRestFailure
from yarl import URL

from taskrunner.errors import TaskrunnerError, Unavailable
from taskrunner.queues.taskcluster.service.bounded_answer import BoundedResponse
from taskrunner.queues.taskcluster.service.credentials import Credentials
from taskrunner.queues.taskcluster.service.server_clock import TimedAnswer, answer_trace, noting

CALL_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=15, sock_read=45)
"""Seconds. A claim is answered after 20 s when there is no task; a shorter limit than 35 s would lose some."""

TRANSFER_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=300)
"""Seconds, for files: their owner watches how far they get."""

_BUSY = {408, 425, 429}
"""Refusals that say "later", not "no"."""

_STALE = re.compile(r"stale timestamp", re.IGNORECASE)
"""What Hawk says of a request whose time is not the server's: it says nothing against the credentials."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})

_LONGEST_MESSAGE = 1000


class CallRefused(TaskrunnerError):
    """A service said no: the call must not be sent again as it is."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status, self.message = status, message

    def __str__(self) -> str:
        return f"{self.message} (HTTP {self.status})"


@attrs.define(eq=False)
class TaskclusterServices:
    """The services of one Taskcluster. Made in the event loop that uses it."""

    root_url: str
    own: Credentials
    """Those of the worker."""
    calls: aiohttp.ClientSession = attrs.field(init=False)
    transfers: aiohttp.ClientSession = attrs.field(init=False)
    """For files and for the requests of runs: bodies pass as they are, however long they take."""

    def __attrs_post_init__(self) -> None:
        jar = aiohttp.DummyCookieJar()
        self.calls = aiohttp.ClientSession(
            timeout=CALL_TIMEOUT, trace_configs=[answer_trace()], cookie_jar=jar, response_class=BoundedResponse
        )
        self.transfers = aiohttp.ClientSession(timeout=TRANSFER_TIMEOUT, auto_decompress=False, cookie_jar=jar)

    async def queue(self, credentials: Credentials, method: str, *arguments: Any) -> Any:
        """The answer of the queue service. Raises: CallRefused, Unavailable."""
        answer, _ = await self.timed(credentials, method, *arguments)
        return answer

    async def timed(self, credentials: Credentials, method: str, *arguments: Any) -> tuple[Any, TimedAnswer]:
        """The same, with the times of the exchange."""
        client = Queue(credentials.options(self.root_url), session=self.calls)
        loop = asyncio.get_running_loop()
        exchange = TimedAnswer(loop.time())
        with noting(exchange):
            try:
                answer = await _answer(getattr(client, method)(*arguments))
            except Unavailable as unavailable:
                unavailable.retry_after = exchange.retry_after
                raise
        exchange.received = loop.time()
        return answer, exchange

    async def expand(self, scopes: Sequence[str]) -> Any:
        """What the auth service says these scopes are, roles included. Raises: CallRefused, Unavailable."""
        client = Auth(self.own.options(self.root_url), session=self.calls)
        return await _answer(client.expandScopes({"scopes": list(scopes)}))

    async def find_task(self, credentials: Credentials | None, scopes: Sequence[str], namespace: str) -> Any:
        """What the index has under a name. None: asked as anybody. Raises: CallRefused, Unavailable."""
        options = credentials.options(self.root_url, scopes) if credentials else anybody(self.root_url)
        return await _answer(Index(options, session=self.calls).findTask(namespace))

    async def artifact_location(self, url: str, header: str) -> str:
        """Where the queue says that an artifact is: the target of its redirect. `header` signs the request, if it is
        not empty. Raises: CallRefused, Unavailable."""
        headers = {"Authorization": header} if header else {}
        try:
            async with self.calls.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as answer:
                status, location = answer.status, answer.headers.get("Location", "")
                message = "" if status in REDIRECTS else _message_of(await answer.text(errors="replace"))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            problem = network_problem(error)
        else:
            if status in REDIRECTS and location:
                return urljoin(url, location)
            if 400 <= status < 500 and status not in _BUSY:  # noqa: PLR2004  the client errors of HTTP
                raise CallRefused(status, message)
            problem = f"the queue answered with HTTP {status}, and no place of the artifact"
        raise Unavailable(problem)  # outside of `except`: a chain of causes holds headers

    async def close(self) -> None:
        await self.calls.close()
        await self.transfers.close()


def anybody(root_url: str) -> dict[str, Any]:
    """For a client that signs nothing, whatever the environment of the worker has."""
    return {"rootUrl": root_url, "credentials": {}, "maxRetries": 0}


def _message_of(body: str) -> str:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    message = answer.get("message") if isinstance(answer, Mapping) else None
    return shortened(message if isinstance(message, str) else "")


async def _answer(call: Any) -> Any:
    try:
        answer = await call
    except Exception as error:
        problem = _problem_of(error)
        if problem is None:
            raise
    else:
        if not isinstance(answer, Mapping) or isinstance(answer.get("response"), aiohttp.ClientResponse):
            raise Unavailable("the answer is no JSON object: is the root URL that of a Taskcluster?")
        return answer
    raise problem  # outside of `except`: a chain of causes holds headers


def _problem_of(error: Exception) -> TaskrunnerError | None:
    match error:
        case TaskclusterAuthFailure() | TaskclusterRestFailure():
            return _refusal(CallRefused(error.status_code, shortened(str(error))))
        case aiohttp.ClientResponseError():
            return Unavailable(f"the service answered with HTTP {error.status}")
        case TaskclusterFailure():
            return Unavailable(network_problem(getattr(error, "superExc", None) or error))
        case aiohttp.ClientError() | OSError() | ValueError() | RecursionError():
            return Unavailable(network_problem(error))
        case _:
            return None


def _refusal(refused: CallRefused) -> TaskrunnerError:
    if refused.status == HTTPStatus.UNAUTHORIZED and _STALE.search(refused.message):
        return Unavailable(f"{refused}: does the clock of this machine differ from that of Taskcluster?")
    return Unavailable(str(refused)) if refused.status in _BUSY else refused


def network_problem(error: BaseException) -> str:
    """Why there was no answer, in a line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def shortened(message: str) -> str:
    """A service's words, without the request that it repeats below a line of dashes."""
    head = re.split(r"\n\s*-{3,}", message)[0].strip()
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", head)[:_LONGEST_MESSAGE] or "no reason was given"
