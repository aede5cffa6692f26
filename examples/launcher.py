"""A small build launcher: dispatches one build to a taskrunner worker, and takes its result.

    python examples/launcher.py ws://127.0.0.1:3005 BUILD_ID "$(hostname)" 'make test'

It asks for the state first, so a launcher that takes over from one that died gets the result, or waits for it. When the
connection breaks it connects again. Ctrl-C aborts the build. Its worker is started with
`--queue launcher://127.0.0.1:3005?build_id=BUILD_ID`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import attrs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

AGAIN = 1.0
"""Seconds between two tries to connect."""

OVER = {"success", "error", "aborted"}

Message = dict[str, Any]


class BuildLostError(Exception):
    """The worker does not let this launcher in."""


@attrs.define
class Launcher:
    """One build on one worker. `vm_name` is the name of the worker's machine, or the begin of it."""

    url: str
    build_id: str
    job: Message
    vm_name: str = ""
    token: str = ""
    max_seconds: float = 3600.0
    say: Callable[[str], None] = print
    aborting: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def run(self) -> Message:
        """The result of the build: a message `success`, `error`, `aborted`, or a `state-response` that says the same.

        Raises: BuildLostError.
        """
        deadline = asyncio.get_running_loop().time() + self.max_seconds
        while True:
            try:
                async with self._connect() as connection:
                    return await self._converse(connection, deadline)
            except InvalidStatus as error:
                raise BuildLostError(f"the worker answered with HTTP {error.response.status_code}") from None
            except (OSError, WebSocketException) as error:
                if "Unauthorized" in str(error):
                    raise BuildLostError("the worker belongs to another machine") from None
                self.say(f"no connection ({error}); again in {AGAIN:g} s")
                await asyncio.sleep(AGAIN)

    async def close(self) -> None:
        """The machine is not needed any more."""
        async with self._connect() as connection:
            await connection.send(json.dumps({"type": "close"}))
            await connection.wait_closed()

    def _connect(self) -> connect:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return connect(f"{self.url}/?{urlencode({'expo_vm_name': self.vm_name})}", additional_headers=headers)

    async def _converse(self, connection: ClientConnection, deadline: float) -> Message:
        """Until the result. What ends the build early comes over this connection too."""
        aborting = asyncio.create_task(self._abort(connection, deadline))
        try:
            await connection.send(json.dumps({"type": "state-query", "buildId": self.build_id}))
            while True:
                message = json.loads(await connection.recv())
                state = message.get("status", message["type"])
                self.say(state)
                if state in OVER:
                    return dict(message)
                if state == "new":
                    dispatch = {"type": "dispatch", "buildId": self.build_id, "job": self.job}
                    about = {"initiatingUserId": "example", "projectId": "example", "metadata": {}}
                    await connection.send(json.dumps(dispatch | about))
        finally:
            aborting.cancel()

    async def _abort(self, connection: ClientConnection, deadline: float) -> None:
        reason = "cancel"
        try:
            async with asyncio.timeout_at(deadline):
                await self.aborting.wait()
        except TimeoutError:
            reason = "timeout"
        await connection.send(json.dumps({"type": "abort", "reason": reason}))


def job_of(*scripts: str, **keys: Any) -> Message:
    """A job whose steps are these scripts."""
    return {"steps": [{"run": script} for script in scripts], "projectArchive": {"type": "NONE"}} | keys


async def main(url: str, build_id: str, scripts: list[str], vm_name: str) -> int:
    launcher = Launcher(url, build_id, job_of(*scripts), vm_name)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, launcher.aborting.set)
    result = await launcher.run()
    print(json.dumps(result))
    await launcher.close()
    return 0 if "success" in {result["type"], result.get("status")} else 1


if __name__ == "__main__":
    _, url, build_id, vm_name, *scripts = sys.argv
    sys.exit(asyncio.run(main(url, build_id, scripts, vm_name)))
