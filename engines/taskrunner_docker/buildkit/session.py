"""A BuildKit session: a connection on which the daemon asks and this side answers."""

from __future__ import annotations

import hashlib
import socket
import threading
import uuid
from concurrent.futures import wait
from types import TracebackType
from typing import Self

from taskrunner.blocking import DaemonExecutor
from taskrunner.connections import Connections
from taskrunner.errors import RunLost, TaskFailedInternally, TaskrunnerError, Unavailable
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.buildkit.copies import Copy
from taskrunner_docker.buildkit.filesync import DIFF_COPY, ContextFiles
from taskrunner_docker.buildkit.grpc import GrpcServer
from taskrunner_docker.buildkit.protobuf import WireError
from taskrunner_docker.buildkit.request import BuildRequest
from taskrunner_docker.buildkit.session_services import small_services
from taskrunner_docker.buildkit.ssh_forward import ssh_services
from taskrunner_docker.context.selection import ignore_rules

END_TIMEOUT = 30.0
"""Seconds for the thread to see that its connection is closed: it may be in the middle of a read."""
QUICK_LIST = 100_000
"""Entries that are listed in half a second. A session that is silent for ten is ended."""
_TAKEN = "already exists"
"""What BuildKit says of the id of a session that has not ended."""
_sessions = DaemonExecutor("build-session")


class Session:
    """Open within its context. An error in it closes the connections, which ends the build, and is kept as `failure`.

    The context is used from the session's thread alone. Its files are listed before the connection is opened: a list of
    a million takes its time, and a session must answer within seconds. A daemon that has a copy will not ask for it.
    """

    def __init__(
        self, client: DockerClient, connections: Connections, request: BuildRequest, copy: Copy | None = None
    ) -> None:
        """`copy` is what the daemon has of exactly these files."""
        self.id = copy.session_id if copy else _new_id()
        self._copy = copy
        self.failure: TaskrunnerError | None = None
        self.files = ContextFiles(request.context, ignore_rules(client))
        self._client, self._connections, self._shared_key = client, connections, request.shared_key
        self._methods = {
            **small_services(request.secrets, request.credentials),
            **ssh_services(request.ssh),
            DIFF_COPY: self.files.open,
        }
        self._begun = threading.Event()

    def __enter__(self) -> Self:
        """Raises Unavailable, or what the context raises."""
        self._serving = _sessions.submit(self._run)
        self._begun.wait()
        if self.failure:
            raise self.failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.interrupt()
        wait([self._serving], END_TIMEOUT)

    def _run(self) -> None:
        try:
            self._serve()
            self._fail(RunLost("the Docker daemon closed the build's session"))
        except TaskrunnerError as error:
            self._fail(error)
        except DockerError as error:
            self._fail(Unavailable(f"the Docker daemon does not open a session: {error}"))
        except WireError as error:
            self._fail(TaskFailedInternally(f"a message in the build's session with the Docker daemon is bad: {error}"))
        except OSError as error:
            self._fail(RunLost(f"the build's session with the Docker daemon broke: {error}"))
        except Exception as error:  # noqa: BLE001  from a secret's or the credentials' callable: the text may hold a secret
            self._fail(TaskFailedInternally(f"the build's session failed with {type(error).__name__}"))
        finally:
            self._begun.set()

    def _serve(self) -> None:
        if self._copy is None or self._copy.entries > QUICK_LIST:
            self.files.entries()
        with self._connect() as connection:
            server = GrpcServer(connection, self._methods)
            self._begun.set()
            server.serve()

    def _connect(self) -> socket.socket:
        """The daemon looks after its sessions once a second, or less often, so that it may still have the last one with
        this id. Then this one gets a new id, and the daemon the list."""
        if self._copy:
            try:
                return self._upgrade()
            except DockerError as error:
                if _TAKEN not in str(error):
                    raise
            self.id = _new_id()
            self.files.entries()
        return self._upgrade()

    def _upgrade(self) -> socket.socket:
        return self._client.upgrade(self._connections, "/session", self._headers())

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
        """Ends the build. An error after an interruption is its consequence, and no failure."""
        if not self._connections.interrupted:
            self.failure = error
            self._connections.interrupt()


def _new_id() -> str:
    return uuid.uuid4().hex
