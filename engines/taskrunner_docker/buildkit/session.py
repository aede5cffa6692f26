"""A BuildKit session: a connection to the daemon on which the roles are turned around, and we answer."""

from __future__ import annotations

import hashlib
import threading
import uuid
from types import TracebackType
from typing import Self

from taskrunner.errors import TaskFailedInternally, TaskrunnerError, Unavailable
from taskrunner_docker.api.build_connection import Api
from taskrunner_docker.api.lifeline import Lifeline
from taskrunner_docker.buildkit.filesync import DIFF_COPY, Files
from taskrunner_docker.buildkit.grpc import GrpcServer
from taskrunner_docker.buildkit.protobuf import WireError
from taskrunner_docker.buildkit.request import BuildRequest
from taskrunner_docker.buildkit.session_services import small_services

JOIN_TIMEOUT = 30.0  # seconds for the thread to see that its connection is gone; it may be in the middle of a read


class Session:
    """Open within its context. A trouble in it cuts the lifeline, which ends the build, and is kept as `failure`.

    The context is used from the session's thread alone. Its files are listed before the connection is opened: a list of
    a million takes its time, and a session must answer within seconds.
    """

    def __init__(self, api: Api, lifeline: Lifeline, request: BuildRequest) -> None:
        self.id = uuid.uuid4().hex
        self.failure: TaskrunnerError | None = None
        self.files = Files(request.context)
        self._api, self._lifeline, self._shared_key = api, lifeline, request.shared_key
        self._methods = {**small_services(request.secrets, request.credentials), DIFF_COPY: self.files.open}
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"build-session-{self.id[:8]}", daemon=True)

    def __enter__(self) -> Self:
        """Raises Unavailable, or what the context raises."""
        self._thread.start()
        self._begun.wait()
        if self.failure:
            raise self.failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lifeline.cut()
        self._thread.join(JOIN_TIMEOUT)

    def _run(self) -> None:
        try:
            self._serve()
            self._fail(Unavailable("the Docker daemon closed the build's session"))
        except TaskrunnerError as error:
            self._fail(error)
        except WireError as error:
            self._fail(TaskFailedInternally(f"what the Docker daemon says in the build's session is no sense: {error}"))
        except OSError as error:
            self._fail(Unavailable(f"the build's session with the Docker daemon broke: {error}"))
        except Exception as error:  # noqa: BLE001  from a secret's or the credentials' callable: the text may hold a secret
            self._fail(TaskFailedInternally(f"the build's session failed with {type(error).__name__}"))
        finally:
            self._begun.set()

    def _serve(self) -> None:
        self.files.entries()
        with self._api.take_over(self._lifeline, "/session", self._headers()) as connection:
            server = GrpcServer(connection, self._methods)
            self._begun.set()
            server.serve()

    def _headers(self) -> list[tuple[str, str]]:
        return [
            ("Connection", "Upgrade"),
            ("Upgrade", "h2c"),
            ("X-Docker-Expose-Session-Uuid", self.id),
            ("X-Docker-Expose-Session-Name", "taskrunner"),
            ("X-Docker-Expose-Session-Sharedkey", hashlib.sha256(self._shared_key.encode()).hexdigest()),
            *(("X-Docker-Expose-Session-Grpc-Method", method) for method in self._methods),
        ]

    def _fail(self, error: TaskrunnerError) -> None:
        """Ends the build; what comes after a cut is its consequence, and no failure."""
        if not self._lifeline.is_cut:
            self.failure = error
            self._lifeline.cut()
