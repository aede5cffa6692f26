"""A worker behind the port of launchers, in this process, whose platform is a fake one, and a client of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from taskrunner.interfaces.push import Credits
from taskrunner.interfaces.queue import Queue
from taskrunner.model import Document, Submission
from taskrunner.queues.launcher.build import Build
from taskrunner.queues.launcher.job.submission import submission
from taskrunner.queues.launcher.log.build_log import LauncherLog
from taskrunner.queues.launcher.messages import Dispatch
from taskrunner.queues.launcher.options import LauncherOptions
from taskrunner.queues.launcher.queue import LauncherQueue
from taskrunner.queues.launcher.record import BuildRecord
from taskrunner.queues.launcher.source import LauncherSource
from taskrunner.queues.listening import Address, Listener
from taskrunner.testing import PushClient
from taskrunner.testing.conformance.push_source.client import PeerMessage
from taskrunner.testing.conformance.push_source.harness import PushSourceKit
from tests.support.ports import free_port

ENDS = {"success": "completed", "error": "failed", "aborted": "exception"}


class LauncherClient(PushClient):
    """One launcher, which asks for the state first."""

    def __init__(self, connection: ClientConnection, documents: dict[str, Document]) -> None:
        self.connection, self._documents = connection, documents

    @classmethod
    async def connect(cls, url: str, documents: dict[str, Document] | None = None) -> Self:
        return cls(await connect(url, compression=None), {} if documents is None else documents)

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def message(self) -> dict[str, Any]:
        """Raises: ConnectionClosed."""
        return dict(json.loads(await self.connection.recv()))

    async def dispatch(self, task_id: str, document: Document) -> None:
        self._documents[task_id] = document
        await self.send(type="dispatch", buildId=task_id, job={})
        await self.send(type="state-query", buildId=task_id)

    async def resume(self, task_id: str) -> None:
        await self.send(type="state-query", buildId=task_id)

    async def cancel(self) -> None:
        await self.send(type="abort", reason="cancel")

    async def disconnect(self) -> None:
        self.connection.transport.abort()
        await self.connection.wait_closed()

    async def receive(self) -> PeerMessage:
        try:
            message = await self.message()
        except ConnectionClosed:
            raise EOFError from None
        state = str(message.get("status", message["type"]))
        if state not in ENDS:
            return PeerMessage("state", state)
        ending = "exception" if "internalErrorCode" in message else ENDS[state]
        await self.connection.close()  # a launcher that has its result leaves
        if message.get("externalBuildError", {}).get("errorCode") == "MALFORMED_PAYLOAD":
            ending = "exception"
        return PeerMessage("answer", f"{ending}: {json.dumps(message)}")


class ManyBuilds(LauncherSource):
    """Each launcher has a build of its own, of the id in its path: the tests of all sources run several tasks."""

    def __init__(self, port: int, home: Path, documents: dict[str, Document]) -> None:
        super().__init__(Listener(Address("127.0.0.1", port)), self.new_build, "", 3600.0)
        self.home, self.documents = home, documents
        self.queue: Credits
        self.builds: dict[str, Build] = {}

    def new_build(self, credits: Credits, build_id: str = "") -> Build:  # noqa: A002
        self.queue = credits
        record = BuildRecord(self.home / "launcher" / f"{build_id}.json")
        return Build(build_id, credits, self.submission, LauncherLog(None, self.home), record)

    def build_of(self, path: str) -> Build | None:
        build_id = parse_qs(urlsplit(path).query)["build"][0]
        if build_id not in self.builds:
            self.builds[build_id] = self.new_build(self.queue, build_id)
        return self.builds[build_id]

    def submission(self, dispatch: Dispatch) -> Submission:
        """Of a build that no test has named, the task that the source makes."""
        if document := self.documents.get(dispatch.build_id):
            return Submission(dispatch.build_id, document)
        return submission(dispatch, LauncherOptions())


class LateClient(PushClient):
    """Connects when it knows which build it is for."""

    def __init__(self, port: int, documents: dict[str, Document]) -> None:
        self._port, self._documents = port, documents
        self._client: LauncherClient | None = None

    async def _connected(self, build_id: str) -> LauncherClient:
        url = f"ws://127.0.0.1:{self._port}/?build={build_id}"
        self._client = await LauncherClient.connect(url, self._documents)
        return self._client

    async def dispatch(self, task_id: str, document: Document) -> None:
        await (await self._connected(task_id)).dispatch(task_id, document)

    async def resume(self, task_id: str) -> None:
        await (await self._connected(task_id)).resume(task_id)

    async def cancel(self) -> None:
        assert self._client
        await self._client.cancel()

    async def disconnect(self) -> None:
        if self._client:
            await self._client.disconnect()

    async def receive(self) -> PeerMessage:
        assert self._client
        return await self._client.receive()


class LauncherKit(PushSourceKit):
    carries = frozenset({"cancel", "resume"})

    def queue(self, worker_id: str, home: Path) -> Queue:
        self.port = free_port()
        self.documents: dict[str, Document] = {}
        return LauncherQueue(ManyBuilds(self.port, home, self.documents), worker_id, home)

    async def connect(self) -> PushClient:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.close()
        return LateClient(self.port, self.documents)


BUILD = "b-1"


class OneBuildKit(PushSourceKit):
    """A worker as it is started, with one build, whose steps run on a fake platform."""

    def __init__(self, listener: Listener | None = None, host_name: str = "", close_timeout: float = 3600.0) -> None:
        self.port = listener.address.port if listener else free_port()
        self.listener = listener or Listener(Address("127.0.0.1", self.port))
        self.host_name, self.close_timeout = host_name, close_timeout
        self.document: Document = {"platform": "fake"}
        self.source: LauncherSource

    def queue(self, worker_id: str, home: Path) -> Queue:
        def make_build(credits: Credits) -> Build:  # noqa: A002
            record = BuildRecord(home / "launcher" / f"{BUILD}.json")
            return Build(BUILD, credits, self.submission, LauncherLog(None, home), record)

        self.source = LauncherSource(self.listener, make_build, self.host_name, self.close_timeout)
        return LauncherQueue(self.source, worker_id, home)

    def submission(self, dispatch: Dispatch) -> Submission:
        """A job that has steps is one for the source; any other is the document of this kit."""
        if dispatch.job.get("steps"):
            return submission(dispatch, LauncherOptions())
        return Submission(dispatch.build_id, self.document, retries=0)

    async def connect(self) -> LauncherClient:
        return await LauncherClient.connect(f"ws://127.0.0.1:{self.port}")
