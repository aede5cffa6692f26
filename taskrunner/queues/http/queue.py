"""HttpQueue: the tasks of a SQLite queue, to which clients submit over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlsplit

import attrs

from taskrunner.config.config import Config
from taskrunner.config.plugins import platforms
from taskrunner.errors import Bug, Complaint, ConfigError
from taskrunner.interfaces.plugin import NoOptions, QueueContext
from taskrunner.interfaces.queue import Submitter
from taskrunner.model import Claim, Progress
from taskrunner.queues.http.admission import SubmissionCheck
from taskrunner.queues.http.application import application
from taskrunner.queues.http.artifacts import ServedArtifacts
from taskrunner.queues.http.endpoints import Endpoints
from taskrunner.queues.http.openapi import openapi_document
from taskrunner.queues.http.options import HttpOptions, option_complaints
from taskrunner.queues.http.progress import ProgressBoard
from taskrunner.queues.http.remote.client import HttpSubmitter
from taskrunner.queues.listening import Listener, open_listener
from taskrunner.queues.listening.http_port import HttpPort
from taskrunner.queues.sqlite.queue import SqliteQueue
from taskrunner.schema.repositories import RepositoryRules

DEFAULT_PORT = 8080

log = logging.getLogger(__name__)


class HttpQueue(SqliteQueue):
    """`http://HOST:PORT`: where the API listens, or for a client, where it connects.

    Tasks are kept in a SQLite file, by default that of the home, so that they outlive the worker, and other workers and
    the verbs of this machine have the same. `?file=/PATH` names another.
    """

    options = HttpOptions
    _port: HttpPort | None = None
    _scheme = "http"

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._board = ProgressBoard()

    @classmethod
    async def open(cls, options: HttpOptions, context: QueueContext) -> Self:  # type: ignore[override]  # its own table
        listener = await _listener(options, context)
        queue = await super().open(NoOptions(), attrs.evolve(context, url=sqlite_url(context.url, context.home)))
        try:
            await queue.listen(listener, options, context)
        except BaseException:
            await queue.close()
            raise
        return queue

    async def listen(self, listener: Listener, options: HttpOptions, context: QueueContext) -> None:
        """Serves the API until `close`. Raises: Unavailable (the port is taken)."""
        if context.open_store is None:
            raise Bug("the HTTP queue was opened without the store of a configuration")
        rules = RepositoryRules(options.repositories, f"`repositories` in [queue.{urlsplit(context.url).scheme}]")
        served = ServedArtifacts(self, context.open_store)
        endpoints = Endpoints(self, SubmissionCheck(platforms(), rules), served, self._board)
        self._scheme = "https" if listener.tls else "http"
        self._port = await HttpPort.open(listener, application(endpoints, listener.tokens))
        if exposure := listener.exposure:
            log.warning(exposure)

    @classmethod
    async def connect(cls, options: HttpOptions, context: QueueContext) -> Submitter:
        return HttpSubmitter.of(options, context)

    @classmethod
    def check_options(cls, options: HttpOptions) -> Iterable[Complaint]:
        return option_complaints(options)

    @classmethod
    def api_document(cls) -> Mapping[str, Any]:
        return openapi_document()

    @property
    def address(self) -> str:
        return f"{self._scheme}://{self._port.address}" if self._port else super().address

    async def progress(self, claim: Claim, progress: Progress) -> None:
        self._board.set(claim.run, progress)

    async def close(self) -> None:
        if self._port:
            await self._port.close()
        await super().close()


async def _listener(options: HttpOptions, context: QueueContext) -> Listener:
    parts = urlsplit(context.url)
    if parts.scheme == "https" and not options.listen.certificate:
        raise ConfigError("https needs `listen.certificate` and `listen.key` in [queue.https]")
    return await open_listener(parts._replace(query="").geturl(), options.listen, context, DEFAULT_PORT)


def sqlite_url(url: str, home: Path) -> str:
    """The URL of the file that keeps the tasks. Raises ConfigError."""
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    match query:
        case []:
            return Config().queue_url(home)
        case [("file", path)] if path.startswith("/"):
            return f"sqlite://{quote(path)}"
    raise ConfigError("the URL has a query other than ?file=/PATH, the full path of a SQLite queue")
