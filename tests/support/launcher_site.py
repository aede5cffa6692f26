"""A home whose worker serves launchers, in a process of its own, and launchers of the examples."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import attrs

from examples.launcher import Launcher, job_of
from tests.support.e2e import LIMIT, Site, WorkerProcess
from tests.support.ports import free_port
from tests.support.signed_storage import Storage, storage

BUILD = "b-1"
HOST = socket.gethostname()


@attrs.define(eq=False)
class LauncherSite(Site):
    """Its worker sends the log of the build to `storage`."""

    port: int = attrs.field(init=False, factory=free_port)
    storage: Storage = attrs.field(init=False)
    _stack: ExitStack = attrs.field(init=False, factory=ExitStack)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.storage = self._stack.enter_context(storage())
        self.variables["LOG_URL"] = self.storage.url
        self.options()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def options(self, text: str = "", more: str = "") -> None:
        """The keys of `[queue.launcher]`, and tables after it."""
        log = 'log_upload = {url = {secret = "log-url"}, headers = {x-sent-by = "us"}}'
        secrets = '[secrets.log-url]\nenv = "LOG_URL"\n'
        self.configure(f"[queue.launcher]\n{log}\n{text}\n{secrets}\n{more}\n")

    def serve(self, *arguments: str) -> WorkerProcess:
        return self.worker("--queue", f"launcher://127.0.0.1:{self.port}?build_id={BUILD}", *arguments)

    def launcher(self, *scripts: str, **job: Any) -> Launcher:
        return Launcher(self.url, BUILD, job_of(*scripts, **job), HOST, say=lambda _: None)

    def run_build(self, *scripts: str, **job: Any) -> dict[str, Any]:
        """The result of a build, whose worker has ended afterwards."""
        worker, launcher = self.serve(), self.launcher(*scripts, **job)

        async def main() -> dict[str, Any]:
            result = await launcher.run()
            await launcher.close()
            return result

        result = bounded(main)
        assert worker.wait() == 0, worker.output
        return result

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        """Of the log that was sent last."""
        return [json.loads(line) for line in self.storage.bodies[-1].splitlines()]

    def printed(self, source: str = "stdout") -> list[str]:
        return [line["msg"] for line in self.log_lines if line.get("source") == source]

    def close(self) -> None:
        super().close()
        self._stack.close()


def bounded(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(main(), LIMIT))


def kind(result: dict[str, Any]) -> str:
    """`success`, `error` or `aborted`, whichever message said it."""
    return str(result.get("status", result["type"]))
