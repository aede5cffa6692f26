"""The client of the verbs against a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from taskrunner.config.config import Config
from taskrunner.config.opening import queue_context
from taskrunner.errors import ConfigError, Conflict, MalformedPayload, Unavailable, UnknownTask
from taskrunner.interfaces.plugin import PluginContext
from taskrunner.model import COMPLETED, Secret, Submission
from taskrunner.queues.http import HttpQueue
from taskrunner.queues.http.options import HttpOptions
from taskrunner.queues.http.remote import client
from taskrunner.queues.http.remote.client import HttpSubmitter
from tests.support.http_server import TOKEN, HttpServer, http_server, reveal

T = TypeVar("T")
GOOD = {"platform": "process", "command": ["true"], "metadata": {"branch": "main"}}


def ask(url: str, call: Callable[[Any], Awaitable[T]], token: str = TOKEN) -> T:
    async def main() -> T:
        config = Config(queue=url)
        context = queue_context(config, PluginContext("", Path("/nowhere"), reveal), url)
        connected = await HttpQueue.connect(HttpOptions(token=Secret(literal=token) if token else None), context)
        assert isinstance(connected, HttpSubmitter)
        try:
            return await call(connected)
        finally:
            await connected.close()

    return asyncio.run(main())


def test_a_client_sees_the_tasks_as_the_queue_has_them(server: HttpServer) -> None:
    assert ask(server.url, lambda tasks: tasks.submit(Submission("far", GOOD)))
    assert not ask(server.url, lambda tasks: tasks.submit(Submission("far", GOOD)))
    near, far = server.do(lambda queue: queue.status("far")), ask(server.url, lambda tasks: tasks.status("far"))
    assert (far.task_id, far.state, far.submission.document["metadata"]) == ("far", near.state, {"branch": "main"})
    assert ask(server.url, lambda tasks: tasks.matching("fa")) == ("far",)
    assert ask(server.url, lambda tasks: tasks.pending()) == 1
    assert server.claim().task_id == "far"
    assert ask(server.url, lambda tasks: tasks.cancel("far", "enough"))
    assert not ask(server.url, lambda tasks: tasks.cancel("far"))


def test_errors_are_those_of_the_queue(server: HttpServer) -> None:
    ask(server.url, lambda tasks: tasks.submit(Submission("mine", GOOD)))
    server.claim()
    with pytest.raises(Conflict, match="another document"):
        ask(server.url, lambda tasks: tasks.submit(Submission("mine", {**GOOD, "command": ["false"]})))
    with pytest.raises(MalformedPayload, match="comand"):
        ask(server.url, lambda tasks: tasks.submit(Submission("other", {"platform": "process", "comand": []})))
    for unknown in ("none", "..", "a/b", ""):
        with pytest.raises(UnknownTask):
            ask(server.url, lambda tasks, unknown=unknown: tasks.status(unknown))
    with pytest.raises(ConfigError, match="token"):
        ask(server.url, lambda tasks: tasks.status("mine"), token="")
    with pytest.raises(ConfigError, match="token"):
        ask(server.url, lambda tasks: tasks.status("mine"), token="wrong")


def test_a_server_that_is_no_taskrunner_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        ask("http://127.0.0.1:1", lambda tasks: tasks.status("x"))
    for wrong in ("http://user:pw@host", "http://host/path"):
        with pytest.raises(ConfigError):
            ask(wrong, lambda tasks: tasks.status("x"))


def test_a_watch_goes_on_when_the_server_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "RETRY_EVERY", 0.05)
    with http_server(tmp_path) as first:
        first.do(lambda queue: queue.submit(Submission("long", GOOD)))
        port = first.address[1]

        async def watched(tasks: HttpSubmitter) -> list[str]:
            states = []
            async for status in tasks.watch("long"):
                states.append(status.state)
                if len(states) == 1:
                    await asyncio.to_thread(restarted)
            return states

        def restarted() -> None:
            asyncio.run_coroutine_threadsafe(first.queue._port.close(), first.loop).result(30)  # type: ignore[union-attr]
            second = stack.enter_context(http_server(tmp_path, port=port))
            claim = second.claim()
            second.do(lambda queue: queue.resolve(claim, COMPLETED))

        with ExitStack() as stack:
            assert ask(first.url, watched)[-1] == "resolved"
