"""A BuildKit session: a connection to the daemon on which the roles are turned around, and we answer."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from taskrunner.errors import TaskFailedInternally, TaskrunnerError, Unavailable
from taskrunner_docker.buildkit.daemon import Api
from taskrunner_docker.buildkit.filesync import DIFF_COPY, Files
from taskrunner_docker.buildkit.grpc import GrpcServer
from taskrunner_docker.buildkit.lifeline import Lifeline
from taskrunner_docker.buildkit.request import BuildRequest
from taskrunner_docker.buildkit.services import small_services
from taskrunner_docker.buildkit.wire import WireError

JOIN_TIMEOUT = 30.0  # seconds for the thread to see that its connection is gone; it may be in the middle of a read


class Session:
    """Open within its context. A trouble in it cuts the lifeline, which ends the build, and is kept as `failure`."""

    def __init__(self, api: Api, lifeline: Lifeline, request: BuildRequest) -> None:
        self.id = uuid.uuid4().hex
        self.failure: TaskrunnerError | None = None
        self.files = Files(request.context)
        methods = {**small_services(request.secrets, request.credentials), DIFF_COPY: self.files.open}
        self._lifeline = lifeline
        self._socket = api.take_over(lifeline, "/session", self._headers(request.shared_key, methods))
        self._server = GrpcServer(self._socket, methods)
        self._thread = threading.Thread(target=self._serve, name=f"build-session-{self.id[:8]}", daemon=True)

    def _headers(self, shared_key: str, methods: Iterable[str]) -> list[tuple[str, str]]:
        key = hashlib.sha256(shared_key.encode()).hexdigest()
        return [
            ("Connection", "Upgrade"),
            ("Upgrade", "h2c"),
            ("X-Docker-Expose-Session-Uuid", self.id),
            ("X-Docker-Expose-Session-Name", "taskrunner"),
            ("X-Docker-Expose-Session-Sharedkey", key),
            *(("X-Docker-Expose-Session-Grpc-Method", method) for method in methods),
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lifeline.cut()
        self._thread.join(JOIN_TIMEOUT)
        self._socket.close()

    def _serve(self) -> None:
        try:
            self._server.serve()
            self._fail(Unavailable("the Docker daemon closed the build's session"))
        except TaskrunnerError as error:
            self._fail(error)
        except WireError as error:
            self._fail(TaskFailedInternally(f"what the Docker daemon says in the build's session is no sense: {error}"))
        except OSError as error:
            self._fail(Unavailable(f"the build's session with the Docker daemon broke: {error}"))
        except Exception as error:  # noqa: BLE001  from a secret's or the credentials' callable: the text may hold a secret
            self._fail(TaskFailedInternally(f"the build's session failed with {type(error).__name__}"))

    def _fail(self, error: TaskrunnerError) -> None:
        """Ends the build; what comes after a cut is its consequence, and no failure."""
        if not self._lifeline.is_cut:
            self.failure = error
            self._lifeline.cut()
