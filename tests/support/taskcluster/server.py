"""The server: its own thread, its own loop, a free port of the loopback.

Its answers have the header `Date` of its own clock. It serves what a worker calls of the queue service, the one call
of the auth service that a worker needs, and the storage for artifacts.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Self
from urllib.parse import unquote

import attrs
from aiohttp import web

from taskrunner.proxies.accepting import stop_accepting
from tests.support.taskcluster.clock import ServerClock, as_text
from tests.support.taskcluster.faults import Fault, Faults, Kind
from tests.support.taskcluster.hawk import Caller, Clients, Denied
from tests.support.taskcluster.tasks import Run, ServerTask, Tasks

QUEUE = "proj-web/linux"
CLIENT_ID, ACCESS_TOKEN = "project/web/worker", "worker-access-token"
GRANTED = (f"queue:claim-work:{QUEUE}", "queue:worker-id:*", "queue:status:*", "queue:get-task:*", "auth:expand-scopes")
URL_LIFE = timedelta(minutes=45)
LIMIT = 20.0
"""Seconds for the thread to start and to end."""


@attrs.frozen
class Seen:
    """One call, as it arrived."""

    call: str
    client_id: str
    path: str


class TaskclusterServer:
    """`with TaskclusterServer() as server:`. Its methods may be called from any thread."""

    def __init__(self, *, claim_timeout: float = 1200.0, poll: float = 20.0) -> None:
        self.clock = ServerClock()
        self.clients = Clients(self.clock)
        self.clients.tokens.update({"queue": ("queue-token", ()), CLIENT_ID: (ACCESS_TOKEN, GRANTED)})
        self.tasks = Tasks(self.clock, self.clients, claim_timeout)
        self.poll = poll
        """Seconds that a claim waits for a task, on the server's clock."""
        self.faults = Faults()
        self.roles: dict[str, list[str]] = {}
        self.seen: list[Seen] = []
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.index: dict[str, str] = {}
        """Task ids by their names in the index."""
        self._downloads: dict[str, bytes] = {}
        self._uploads: dict[str, tuple[Run, str, datetime]] = {}
        self._wakeups: set[asyncio.Event] = set()
        self._transports: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner
        self._listening: asyncio.Server
        self.port = 0
        self.down = True

    def __enter__(self) -> Self:
        self._thread.start()
        self.bring_back()
        return self

    def __exit__(self, *_: object) -> None:
        for fault in self.faults.due:
            fault.release()
        self.take_down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def bring_back(self) -> None:
        """Listens, at the port that it had."""
        self._on_loop(self._listen())
        self.down = False

    def take_down(self) -> None:
        """Ends all connections, and listens no more."""
        self.down = True
        self._on_loop(self._end())

    # ---- for tests --------------------------------------------------------------------------------------

    def create(self, task_id: str, payload: Any, **task: Any) -> None:
        """Creates a task, in the queue of the worker."""
        now, retries = self.clock.now(), task.pop("retries", 5)
        definition = {
            "provisionerId": "proj-web", "workerType": "linux", "taskQueueId": QUEUE, "schedulerId": "-",
            "taskGroupId": "group-1", "priority": "lowest", "scopes": [], "routes": [], "dependencies": [],
            "created": as_text(now), "deadline": as_text(now + timedelta(days=1)),
            "expires": as_text(now + timedelta(days=30)), "retries": retries, "extra": {}, "tags": {},
            "metadata": {"name": "a task", "description": "", "owner": "me@example.com", "source": "https://example.com"},
            "payload": payload, **task,
        }  # fmt: skip
        with self.changing():
            self.tasks.known[task_id] = ServerTask(task_id, definition, retries)

    def create_with_artifact(self, task_id: str, name: str, body: bytes = b"", **properties: Any) -> None:
        """Creates a task of another queue, which is completed and has this artifact: a file, or with properties
        another kind."""
        self.create(task_id, {}, taskQueueId="proj-web/images")
        what = properties or {"storageType": "s3", "contentType": "application/x-tar", "body": body}
        with self.changing():
            run = self.tasks.find(task_id).runs[0]
            run.state = run.reason = "completed"
            run.artifacts[name] = what

    def cancel(self, task_id: str) -> None:
        with self.changing():
            self.tasks.cancel(task_id)

    def advance(self, seconds: float) -> None:
        """Lets time pass for the server."""
        with self.changing():
            self.clock.ahead += timedelta(seconds=seconds)

    def fault(self, call: str, kind: Kind, **details: Any) -> Fault:
        fault = Fault(call, kind, **details)
        with self.lock:
            self.faults.due.append(fault)
        return fault

    def runs(self, task_id: str) -> list[str]:
        """`completed`, or `exception/canceled`, of each run; `running` for one that goes on."""
        with self.changing():
            return [
                run.state if run.reason in {"", run.state} else f"{run.state}/{run.reason}"
                for run in self.tasks.find(task_id).runs
            ]

    def artifacts(self, task_id: str, run_id: int = 0) -> dict[str, dict[str, Any]]:
        with self.lock:
            return dict(self.tasks.find(task_id).runs[run_id].artifacts)

    def calls(self, *names: str) -> list[str]:
        """The calls so far, or those of these names."""
        with self.lock:
            return [seen.call for seen in self.seen if not names or seen.call in names]

    def wait_until(self, what: Callable[[], object], limit: float = LIMIT) -> None:
        """Waits until something is so that changes with a call."""
        with self.changed:
            assert self.changed.wait_for(what, limit), f"within {limit} s: {self.calls()}"

    def changing(self, *, quiet: bool = False) -> _Changing:
        """A block in which tasks may change; a quiet one wakes no claim."""
        return _Changing(self, quiet=quiet)

    # ---- HTTP -------------------------------------------------------------------------------------------

    def _on_loop(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT)

    async def _listen(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        assert self._runner.server
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._runner.server, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        server = self._runner.server
        await stop_accepting(self._listening.sockets)
        self._listening.close()
        await self._runner.cleanup()
        if late := asyncio.all_tasks() - {asyncio.current_task()}:  # connections that were just accepted
            await asyncio.wait(late, timeout=LIMIT)
        if server:
            await server.shutdown(0)
        for transport in self._transports:  # also one that waits for a reader, which aiohttp forgets
            transport.abort()
        for _ in range(5):  # turns of the loop in which the last sockets are closed
            await asyncio.sleep(0)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.transport:
            self._transports.add(request.transport)
        call, captured = route(request.method, request.raw_path)
        with self.changing():
            fault = self.faults.take(call)
        early = await self._early(fault, request) if fault and fault.kind != "lost" else None
        if early:
            return early
        try:
            answer = await self._answer(call, captured, request)
            if isinstance(answer, web.Response):
                return answer
            status = 200
        except Denied as denied:
            answer, status = {"code": "Refused", "message": denied.message, "requestInfo": {}}, denied.status
        if fault and fault.kind == "lost":
            return _cut(request)
        return web.json_response(answer, status=status, headers=self._headers())

    async def _early(self, fault: Fault, request: web.Request) -> web.StreamResponse | None:
        """The answer of a fault that does nothing; None when the call goes on."""
        if fault.kind == "stall":
            await asyncio.get_running_loop().run_in_executor(None, fault.released.wait, LIMIT)
            return None
        if fault.kind == "drop":
            return _cut(request)
        if fault.kind == "garbage":
            headers = {**self._headers(), "Content-Type": "application/json", **fault.headers}
            return web.Response(body=fault.body, headers=headers)
        status = 429 if fault.kind == "busy" else fault.status
        return web.json_response({"message": fault.message}, status=status, headers=fault.headers)

    def _headers(self) -> dict[str, str]:
        return {"Date": format_datetime(self.clock.now(), usegmt=True)}

    async def _answer(self, call: str, captured: tuple[str, ...], request: web.Request) -> Any:
        if call == "put":
            return await self._put(captured[0], request)
        if call == "download":
            with self.changing():
                self.seen.append(Seen(call, request.headers.get("Authorization", ""), request.raw_path))
            return web.Response(body=self._downloads[captured[0]])
        body = await request.read()
        caller = self.clients.caller(
            request.headers.get("Authorization", ""), request.method, f"{self.url}{request.raw_path}", body,
            request.headers.get("Content-Type", ""),
        )  # fmt: skip
        with self.changing():
            self.seen.append(Seen(call, caller.client_id, request.raw_path))
        payload = await request.json() if body else {}
        if call == "claimWork":
            return await self._claim(caller, captured[0], payload)
        with self.changing():
            return self._act(call, captured, caller, payload)

    def _act(self, call: str, captured: tuple[str, ...], caller: Caller, payload: Any) -> Any:
        if call == "ping":
            return {"alive": True}
        if call == "expandScopes":
            caller.need("auth:expand-scopes")
            return {"scopes": [found for scope in payload["scopes"] for found in (scope, *self.roles.get(scope, ()))]}
        if call in {"status", "task", "findTask", "getArtifact"}:
            return self._read(call, captured, caller)
        if call == "createTask" or call not in _SCOPES:
            raise Denied(404, f"no such call: {call}")
        task_id, run_id = captured[0], int(captured[1])
        caller.need(f"{_SCOPES[call]}:{task_id}/{run_id}")
        return self._act_on_run(call, task_id, run_id, captured[2:], payload)

    def _read(self, call: str, captured: tuple[str, ...], caller: Caller) -> Any:
        if call == "status":
            caller.need(f"queue:status:{captured[0]}")
            return {"status": self.tasks.find(captured[0]).status()}
        if call == "task":
            caller.need(f"queue:get-task:{captured[0]}")
            return self.tasks.find(captured[0]).definition
        if call == "findTask":
            caller.need(f"index:find-task:{captured[0]}")
            if captured[0] not in self.index:
                raise Denied(404, "Indexed task not found")
            return {"namespace": captured[0], "taskId": self.index[captured[0]], "rank": 0, "data": {}}
        caller.need(f"queue:get-artifact:{captured[2]}")
        return self._location_of(captured[0], int(captured[1]), captured[2])

    def _act_on_run(self, call: str, task_id: str, run_id: int, rest: tuple[str, ...], payload: Any) -> Any:
        if call == "reclaimTask":
            return self.tasks.reclaim(task_id, run_id)
        if call == "createArtifact":
            answer = self.tasks.create_artifact(task_id, run_id, rest[0], payload)
            return answer | self._upload_of(task_id, run_id, rest[0], payload)
        state = {"reportCompleted": "completed", "reportFailed": "failed"}.get(call, "exception")
        return self.tasks.report(task_id, run_id, state, payload.get("reason", state))

    def _upload_of(self, task_id: str, run_id: int, name: str, payload: Any) -> dict[str, Any]:
        if payload["storageType"] != "s3":
            return {}
        key, until = secrets.token_urlsafe(9), self.clock.now() + URL_LIFE
        self._uploads[key] = self.tasks.find(task_id).runs[run_id], name, until
        put_url = f"{self.url}/s3/{key}?X-Amz-Signature={secrets.token_hex(8)}"
        return {"putUrl": put_url, "contentType": payload["contentType"], "expires": as_text(until)}

    def _location_of(self, task_id: str, run_id: int, name: str) -> web.Response:
        """Where the queue redirects to. The real one follows a link by itself; so does this one."""
        artifact = self.tasks.artifact(task_id, run_id, name)
        url = artifact.get("url", "")
        if "body" in artifact:
            key = secrets.token_urlsafe(9)
            self._downloads[key] = artifact["body"]
            url = f"{self.url}/s3/{key}?X-Amz-Signature={secrets.token_hex(8)}"
        return web.json_response(
            {"storageType": artifact["storageType"], "url": url}, status=303, headers={"Location": url}
        )

    async def _put(self, key: str, request: web.Request) -> Any:
        run, name, until = self._uploads[key]
        if self.clock.now() > until or request.headers.get("Content-Type") != run.artifacts[name]["contentType"]:
            raise Denied(403, "SignatureDoesNotMatch")
        if "Content-Length" not in request.headers:
            raise Denied(411, "MissingContentLength")
        body = await request.read()
        with self.changing():
            self.seen.append(Seen("put", "", name))
            run.artifacts[name]["body"] = body
        return {}

    async def _claim(self, caller: Caller, queue: str, payload: Any) -> Any:
        worker = payload["workerGroup"], payload["workerId"]
        caller.need(f"queue:claim-work:{queue}")
        caller.need(f"queue:worker-id:{worker[0]}/{worker[1]}")
        wakeup, end = asyncio.Event(), self.clock.after(self.poll)
        self._wakeups.add(wakeup)
        try:
            while True:
                wakeup.clear()
                with self.changing(quiet=True):
                    granted = self.tasks.claim(queue, worker, payload["tasks"])
                left = (end - self.clock.now()).total_seconds()
                if granted or left <= 0:
                    return {"tasks": granted}
                with suppress(TimeoutError):
                    await asyncio.wait_for(wakeup.wait(), left)
        finally:
            self._wakeups.discard(wakeup)

    def wake(self) -> None:
        """Claims that wait look again."""
        self.changed.notify_all()
        self._loop.call_soon_threadsafe(lambda: [wakeup.set() for wakeup in self._wakeups])


class _Changing:
    """A block in which the server's state may change."""

    def __init__(self, server: TaskclusterServer, *, quiet: bool = False) -> None:
        self._server, self._quiet = server, quiet

    def __enter__(self) -> None:
        self._server.lock.acquire()
        self._server.tasks.resolve_due()

    def __exit__(self, *_: object) -> None:
        if not self._quiet:
            self._server.wake()
        self._server.lock.release()


_SCOPES = {
    "reclaimTask": "queue:reclaim-task", "reportCompleted": "queue:resolve-task", "reportFailed": "queue:resolve-task",
    "reportException": "queue:resolve-task", "createArtifact": "queue:create-artifact",
}  # fmt: skip

_RUN = r"/api/queue/v1/task/([^/]+)/runs/(\d+)"
_ROUTES = [
    ("PUT", r"/s3/([^/?]+)", "put"),
    ("GET", r"/s3/([^/?]+)", "download"),
    ("GET", r"/api/index/v1/task/([^/]+)", "findTask"),
    ("GET", r"/api/queue/v1/ping", "ping"),
    ("POST", r"/api/auth/v1/scopes/expand", "expandScopes"),
    ("POST", r"/api/queue/v1/claim-work/([^/]+)", "claimWork"),
    ("GET", r"/api/queue/v1/task/([^/]+)/status", "status"),
    ("GET", r"/api/queue/v1/task/([^/]+)", "task"),
    ("POST", rf"{_RUN}/reclaim", "reclaimTask"),
    ("POST", rf"{_RUN}/completed", "reportCompleted"),
    ("POST", rf"{_RUN}/failed", "reportFailed"),
    ("POST", rf"{_RUN}/exception", "reportException"),
    ("POST", rf"{_RUN}/artifacts/(.+)", "createArtifact"),
    ("GET", rf"{_RUN}/artifacts/(.+)", "getArtifact"),
]


def route(method: str, raw_path: str) -> tuple[str, tuple[str, ...]]:
    """The call of a request, and the parts of its path."""
    path = raw_path.partition("?")[0]
    for verb, pattern, call in _ROUTES:
        if verb == method and (match := re.fullmatch(pattern, path)):
            return call, tuple(unquote(part) for part in match.groups())
    return f"{method} {path}", ()


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport:
        request.transport.abort()
    return web.Response()
