"""Builds an image: one session, one request, and whatever the daemon tells until the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import attrs

from taskrunner.errors import NotSupported, TaskFailedInternally, Unavailable
from taskrunner.model import Progress
from taskrunner_docker.api.build_connection import Api, Daemon
from taskrunner_docker.api.lifeline import Lifeline
from taskrunner_docker.buildkit.answer import Failed, ImageWritten, Said, messages
from taskrunner_docker.buildkit.diagnosis import diagnose
from taskrunner_docker.buildkit.render import BuildLog
from taskrunner_docker.buildkit.request import BuildOutcome, BuildRequest
from taskrunner_docker.buildkit.session import Session
from taskrunner_docker.buildkit.steps import Steps
from taskrunner_docker.buildkit.trace import Trace

CANCEL_TIMEOUT = 1.0  # seconds for the daemon to end what runs in a build, and say so: it takes some 30 ms
END_TIMEOUT = 60.0  # seconds for the threads of a build that was given up, before they are left to themselves


async def build(
    base_url: str,
    request: BuildRequest,
    *,
    write: Callable[[bytes], None],
    progress: Callable[[Progress], None],
) -> BuildOutcome:
    """Builds an image on the daemon at `base_url` (as DOCKER_HOST has it; empty: the usual socket).

    `write` takes the log, `progress` the steps that are done; both are called from a thread of the build. A build that
    failed is an outcome, not an exception. Cancelling ends the build at once, with the command that runs in it; an
    image that was finished just then and has no name is removed, one with a name is the caller's to remove.

    Raises: ConfigError (the address), NotSupported (TLS, or a daemon from before 18.09), Unavailable (the daemon went
    away), TaskFailedInternally (the context cannot be read, or the daemon does not take the request), and whatever the
    context, `write`, the secrets and the credentials raise of the project's own errors.
    """
    work = _Build(Daemon.parse(base_url), request, write, progress)
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1, thread_name_prefix="image-build")
    try:
        running = loop.run_in_executor(thread, work.run)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await _settled(loop.run_in_executor(None, work.cancel), running, limit=CANCEL_TIMEOUT)
            work.lifeline.cut()
            await _settled(running, loop.run_in_executor(thread, work.discard), limit=END_TIMEOUT)
            raise
    finally:
        thread.shutdown(wait=False)


async def _settled(*futures: asyncio.Future[Any], limit: float) -> None:
    """Waits for the end of what cannot be interrupted, even when cancelled again; looks at no result."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit
    while pending := [future for future in futures if not future.done()]:
        if loop.time() >= deadline:
            return
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(pending, timeout=deadline - loop.time())
    for future in futures:
        future.exception()


@attrs.define
class _Build:
    """One build, in its thread."""

    daemon: Daemon
    request: BuildRequest
    write: Callable[[bytes], None]
    progress: Callable[[Progress], None]
    lifeline: Lifeline = attrs.field(factory=Lifeline)
    build_id: str = attrs.field(factory=lambda: uuid4().hex)
    """What the daemon calls this build, for whoever cancels it."""
    canceled: bool = False
    image_id: str | None = None
    error: str | None = None

    def run(self) -> BuildOutcome:
        api = Api.negotiate(self.daemon, self.lifeline)
        steps = Steps()
        with Session(api, self.lifeline, self.request) as session:
            if self.canceled:
                raise Unavailable("the build was given up before it began")
            try:
                self._follow(api, session.id, steps)
            except (Unavailable, TaskFailedInternally):
                if session.failure:
                    raise session.failure from None
                raise
            if session.failure and self.image_id is None:
                raise session.failure
        return self._outcome(steps, session.files.sent_bytes)

    def _follow(self, api: Api, session_id: str, steps: Steps) -> None:
        """Reads the answer to its end."""
        log = BuildLog(steps, self.write)
        last = None
        with api.request(
            self.lifeline, "POST", f"/build?{_query(self.request, session_id, self.build_id)}", silent=True
        ) as answer:
            try:
                for message in messages(answer):
                    match message:
                        case Trace():
                            log.feed(message)
                        case ImageWritten():
                            self.image_id = message.image_id
                        case Failed():
                            self.error = message.text
                        case Said():
                            log.say(message.text)
                    if (now := steps.progress()) != last:
                        self.progress(now)
                        last = now
            finally:
                log.finish()

    def _outcome(self, steps: Steps, sent: int) -> BuildOutcome:
        if self.error is not None:
            return diagnose(self.error, steps.failed(), sent)
        if self.image_id is None:
            raise Unavailable("the Docker daemon ended the build without saying how")
        return BuildOutcome(self.image_id, sent_bytes=sent)

    def cancel(self) -> None:
        """Asks the daemon to end it: the answer comes to its end only when nothing of the build runs any more, which
        closing the connection would not wait for. Best effort.
        """
        self.canceled = True
        self._ask("POST", f"/build/cancel?id={self.build_id}")

    def discard(self) -> None:
        """Removes the image of a build that was given up in the moment of its end. Best effort."""
        if self.image_id is not None and not self.request.tags:
            self._ask("DELETE", f"/images/{quote(self.image_id)}")

    def _ask(self, method: str, path: str) -> None:
        lifeline = Lifeline()
        with (
            contextlib.suppress(Unavailable, TaskFailedInternally, NotSupported),
            Api.negotiate(self.daemon, lifeline).request(lifeline, method, path),
        ):
            pass


def _query(request: BuildRequest, session_id: str, build_id: str) -> str:
    """The parameters of `POST /build`; version 2 is BuildKit."""
    parameters = [
        ("version", "2"),
        ("session", session_id),
        ("buildid", build_id),
        ("remote", "client-session"),
        ("dockerfile", request.dockerfile),
        ("target", request.target),
        ("buildargs", json.dumps(dict(request.build_args))),
        ("labels", json.dumps(dict(request.labels))),
        *(("t", tag) for tag in request.tags),
    ]
    return urlencode([(name, value) for name, value in parameters if value])
