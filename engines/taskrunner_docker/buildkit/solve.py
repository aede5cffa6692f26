"""Builds an image: one session, one request, and the messages of the daemon until the end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

import attrs

from taskrunner.blocking import DaemonExecutor, run_blocking
from taskrunner.connections import Connections
from taskrunner.errors import RunLost, TaskFailedInternally, Unavailable
from taskrunner.interfaces.log import Log
from taskrunner.model import Progress
from taskrunner_docker.api.client import CALL_TIMEOUT, DockerClient, Query
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.buildkit.answer import BuildFailed, ImageWritten, Output, messages
from taskrunner_docker.buildkit.copies import Copies, Copy
from taskrunner_docker.buildkit.diagnosis import diagnose
from taskrunner_docker.buildkit.render import BuildLog
from taskrunner_docker.buildkit.request import BuildOutcome, BuildRequest
from taskrunner_docker.buildkit.session import Session
from taskrunner_docker.buildkit.steps import Steps
from taskrunner_docker.buildkit.trace import Trace
from taskrunner_docker.context.selection import ignore_rules

BUILD_LIMIT = 14 * 24 * 3600.0
"""Seconds, more than any task may run: the limit of the task ends a build."""
CANCEL_TIMEOUT = 1.0
"""Seconds for the daemon to end what runs in a cancelled build, and to report it: it takes some 30 ms."""
END_TIMEOUT = 60.0
"""Seconds for the threads of a cancelled build, before they are left alone."""
_builds = DaemonExecutor("image-build")
_cancellations = DaemonExecutor("build-cancel")


async def build(
    client: DockerClient,
    request: BuildRequest,
    *,
    log: Log,
    progress: Callable[[Progress], None],
    copies: Copies | None = None,
) -> BuildOutcome:
    """Builds an image.

    `copies` are those that the daemon has of the contexts of earlier builds. `log` takes the output, `progress` the
    steps that are done; both are called from a thread of the build. A build that failed is an outcome, not an
    exception. Cancelling ends the build at once, with the command that runs in it; an image that was finished just then
    and has no name is removed, one with a name is the caller's to remove.

    Raises: RunLost (Docker ended it), Unavailable (a registry or Docker itself does not answer), TaskFailedInternally
    (the context cannot be read, or the daemon refuses the request), and the project's own errors of the context, the
    log, the secrets and the credentials.
    """
    work = _Build(client, request, log, progress, copies)
    with client.watch.closing_when_lost(work.connections.interrupt):
        try:
            return await run_blocking(
                work.run,
                limit=BUILD_LIMIT,
                doing="a build",
                interrupt=work.cancel,
                grace=END_TIMEOUT,
                discard=work.discard,
                executor=_builds,
            )
        except RunLost as error:
            client.watch.suspect(error.message)
            raise


@attrs.define
class _Build:
    """One build, in its thread."""

    client: DockerClient
    request: BuildRequest
    log: Log
    progress: Callable[[Progress], None]
    copies: Copies | None = None
    connections: Connections = attrs.field(factory=Connections)
    build_id: str = attrs.field(factory=lambda: uuid4().hex)
    """The daemon's name of this build, by which it is cancelled."""
    canceled: bool = False
    image_id: str | None = None
    error: str | None = None
    _ended: threading.Event = attrs.field(factory=threading.Event)

    def run(self) -> BuildOutcome:
        try:
            return self._build()
        finally:
            self._ended.set()
            self.connections.close()
            if self.canceled:
                self._remove_image()

    def _build(self) -> BuildOutcome:
        steps = Steps()
        state = self._state()
        copy = self.copies.take(self.request.shared_key, state) if self.copies else None
        with Session(self.client, self.connections, self.request, copy) as session:
            if self.canceled:
                raise Unavailable("the build was cancelled before it began")
            try:
                self._follow(session.id, steps)
            except (Unavailable, TaskFailedInternally):
                if session.failure:
                    raise session.failure from None
                raise
            if session.failure and self.image_id is None:
                raise session.failure
        if self.copies and self.image_id is not None and self.error is None:
            entries = session.files.count or (copy.entries if copy else 0)
            self.copies.keep(self.request.shared_key, Copy(session.id, state, entries))
        return self._outcome(steps, session.files.sent_bytes)

    def _state(self) -> str:
        """Names the files, and all that decides which of them BuildKit reads; empty when the files have no name."""
        request, rules = self.request, ignore_rules(self.client).__name__
        read = [request.context_state, request.dockerfile, request.target, sorted(request.build_args.items()), rules]
        return hashlib.sha256(json.dumps(read).encode()).hexdigest() if request.context_state else ""

    def _follow(self, session_id: str, steps: Steps) -> None:
        """Reads the answer to its end."""
        query = _query(self.request, session_id, self.build_id)
        log = BuildLog(steps, self.log)
        last = None
        try:
            answer = self.client.exchange(self.connections, "POST", "/build", query, silence=None)
        except DockerError as error:
            raise _fault(error) from None
        with answer:
            try:
                for message in messages(answer):
                    match message:
                        case Trace():
                            log.feed(message)
                        case ImageWritten():
                            self.image_id = message.image_id
                        case BuildFailed():
                            self.error = message.text
                        case Output():
                            log.add_line(message.text.strip())
                    if (now := steps.progress()) != last:
                        self.progress(now)
                        last = now
            finally:
                log.finish()

    def _outcome(self, steps: Steps, sent: int) -> BuildOutcome:
        if self.error is not None:
            return diagnose(self.error, steps.failed(), sent)
        if self.image_id is None:
            raise RunLost("the Docker daemon ended the build without a result")
        return BuildOutcome(self.image_id, sent_bytes=sent)

    def cancel(self) -> None:
        """Begins to end it. Does not block."""
        self.canceled = True
        _cancellations.submit(self._end)

    def discard(self, _outcome: BuildOutcome) -> None:
        """Removes the image of a build whose cancellation came after its end. Does not block."""
        if self.image_id is not None:
            _cancellations.submit(self._remove_image)

    def _end(self) -> None:
        """Asks the daemon to end it, and closes the connections. Its answer ends when nothing of the build runs any
        more, which closing alone would not wait for."""
        try:
            self._ask("POST", "/build/cancel", {"id": self.build_id}, CANCEL_TIMEOUT)
            self._ended.wait(CANCEL_TIMEOUT)
        finally:
            self.connections.interrupt()

    def _remove_image(self) -> None:
        image_id, self.image_id = self.image_id, None
        if image_id is not None and not self.request.tags:
            self._ask("DELETE", f"/images/{image_id}")

    def _ask(self, method: str, path: str, query: Query = (), silence: float = CALL_TIMEOUT) -> None:
        """Best effort."""
        connections = Connections()
        with contextlib.suppress(DockerError, Unavailable):
            self.client.exchange(connections, method, path, query, silence=silence).close()
        connections.close()


def _fault(error: DockerError) -> Unavailable | TaskFailedInternally:
    """A fault of the daemon, or a request that it refuses. For a bad tag its status is 500."""
    if error.status < HTTPStatus.INTERNAL_SERVER_ERROR or "invalid reference format" in str(error):
        return TaskFailedInternally(f"the Docker daemon refuses: {error}")
    return Unavailable(f"the Docker daemon has failed: {error}")


def _query(request: BuildRequest, session_id: str, build_id: str) -> list[tuple[str, str]]:
    """The parameters of `POST /build`; version 2 is BuildKit."""
    parameters = [
        ("version", "2"),
        ("session", session_id),
        ("buildid", build_id),
        ("remote", "client-session"),
        ("dockerfile", request.dockerfile),
        ("target", request.target),
        ("buildargs", json.dumps(_build_args(request))),
        ("labels", json.dumps(dict(request.labels))),
        *(("t", tag) for tag in request.tags),
        *(("extrahosts", f"{name}:{address}") for name, address in request.extra_hosts.items()),
        ("cachefrom", json.dumps(list(request.cache_from)) if request.cache_from else ""),
    ]
    return [(name, value) for name, value in parameters if value]


def _build_args(request: BuildRequest) -> dict[str, str]:
    """The cache in the image is asked for by an argument, as the docker CLI does."""
    return {**request.build_args, **({"BUILDKIT_INLINE_CACHE": "1"} if request.inline_cache else {})}
