"""Builds an image by one request, whose body is the context."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from http import HTTPStatus

import attrs

from taskrunner.blocking import DaemonExecutor, run_blocking
from taskrunner.connections import Connections
from taskrunner.errors import RunLost, TaskFailedInternally, Unavailable
from taskrunner.interfaces.log import Log
from taskrunner.model import Progress
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.api.oom_events import was_out_of_memory
from taskrunner_docker.build_fields.limits import BuildLimits
from taskrunner_docker.buildkit.answer import messages
from taskrunner_docker.buildkit.diagnosis import KILLED_EXIT_CODE, diagnose
from taskrunner_docker.buildkit.request import BuildOutcome, BuildRequest
from taskrunner_docker.buildkit.solve import BUILD_LIMIT, END_TIMEOUT
from taskrunner_docker.classic.answer import ClassicAnswer
from taskrunner_docker.classic.base_images import base_registries
from taskrunner_docker.classic.context_tar import BadIgnoreFile, context_tar
from taskrunner_docker.classic.leftovers import remove_last_image

_CPU_PERIOD = 100_000
"""Microseconds, of which a limit of CPUs is a part: the kernel's own default."""
_NO_DOCKERFILE = re.compile(r"^Cannot locate specified Dockerfile: (.+)")
_WRONG_FILE = re.compile(r"^Error reading \.dockerignore: |^forbidden path outside the build context: |is a directory$")
"""What of the context the daemon cannot read, and gives the status of a fault of its own."""
_builds = DaemonExecutor("classic-build")


async def build_by_tar(
    client: DockerClient,
    request: BuildRequest,
    limits: BuildLimits,
    *,
    log: Log,
    progress: Callable[[Progress], None],
) -> BuildOutcome:
    """As `buildkit.build`, with the limits for each step, and without secrets, keys and a cache in the image.

    Cancelling closes the connection: the daemon then ends the step that runs, and removes its container.
    """
    work = _ClassicBuild(client, request, limits, log, progress)
    return await run_blocking(
        work.run, limit=BUILD_LIMIT, doing="a build", interrupt=work.connections.interrupt, grace=END_TIMEOUT,
        executor=_builds,
    )  # fmt: skip


@attrs.define
class _ClassicBuild:
    """One build, in its thread."""

    client: DockerClient
    request: BuildRequest
    limits: BuildLimits
    log: Log
    progress: Callable[[Progress], None]
    connections: Connections = attrs.field(factory=Connections)

    def run(self) -> BuildOutcome:
        began, answer = time.time(), ClassicAnswer(self.log)
        try:
            self._follow(answer)
            return self._outcome(answer, began)
        except BadIgnoreFile as error:
            return BuildOutcome(error=str(error))
        except DockerError as error:
            return _refused(error)
        finally:
            self.connections.close()
            if answer.image_id is None and answer.last_image:
                remove_last_image(self.client, answer.last_image)

    def _follow(self, answer: ClassicAnswer) -> None:
        headers = [("Content-Type", "application/x-tar"), ("X-Registry-Config", self._logins())]
        with self.client.exchange(
            self.connections,
            "POST",
            "/build",
            _query(self.request, self.limits),
            headers=headers,
            body=context_tar(self.client, self.request),
            silence=None,
        ) as reading:
            try:
                for message in messages(reading):
                    if moved := answer.take(message):
                        self.progress(moved)
                self.progress(answer.progress())
            finally:
                answer.finish()

    def _logins(self) -> str:
        """For the registries of the base images."""
        found = {host: self.request.credentials(host) for host in base_registries(self.request)}
        logins = {host: {"username": login[0], "password": login[1]} for host, login in found.items() if login}
        return base64.urlsafe_b64encode(json.dumps(logins).encode()).decode()

    def _outcome(self, answer: ClassicAnswer, began: float) -> BuildOutcome:
        if answer.error is not None:
            outcome = diagnose(answer.error, answer.step, 0)
            if outcome.exit_code == KILLED_EXIT_CODE and self._was_out_of_memory(answer.container, began):
                return attrs.evolve(outcome, error=f"out of memory: the step needs more than its limit, {self.limits}")
            if "requires BuildKit" in outcome.error:
                return attrs.evolve(outcome, error=f"{outcome.error}; this build is made without: its log says why")
            return outcome
        if answer.image_id is None:
            raise RunLost("the Docker daemon ended the build without a result")
        return BuildOutcome(answer.image_id)

    def _was_out_of_memory(self, container: str, began: float) -> bool:
        return bool(container) and was_out_of_memory(self.client, self.connections, container, began)


def _refused(error: DockerError) -> BuildOutcome:
    """The daemon reads the Dockerfile before its answer begins, so that its mistakes come as the status of that.

    Raises: TaskFailedInternally, Unavailable, when the fault is not the build's.
    """
    if found := _NO_DOCKERFILE.search(str(error)):
        return BuildOutcome(error=f"there is no file {found[1]} in the build context to build from")
    if error.status == HTTPStatus.BAD_REQUEST or _WRONG_FILE.search(str(error)):
        return BuildOutcome(error=str(error))
    if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise TaskFailedInternally(f"the Docker daemon refuses: {error}")
    raise Unavailable(f"the Docker daemon has failed: {error}")


def _query(request: BuildRequest, limits: BuildLimits) -> list[tuple[str, str]]:
    """The parameters of `POST /build`; version 1 is without BuildKit. What a step leaves is removed in any case."""
    memory = str(limits.memory or "")
    parameters = [
        ("version", "1"),
        ("rm", "1"),
        ("forcerm", "1"),
        ("dockerfile", request.dockerfile),
        ("target", request.target),
        ("buildargs", json.dumps(dict(request.build_args))),
        ("labels", json.dumps(dict(request.labels))),
        *(("t", tag) for tag in request.tags),
        *(("extrahosts", f"{name}:{address}") for name, address in request.extra_hosts.items()),
        ("cachefrom", json.dumps(list(request.cache_from)) if request.cache_from else ""),
        ("memory", memory),
        ("memswap", memory),  # of both together: no swap
        ("cpuperiod", str(_CPU_PERIOD) if limits.cpus else ""),
        ("cpuquota", str(round(limits.cpus * _CPU_PERIOD)) if limits.cpus else ""),
    ]
    return [(name, value) for name, value in parameters if value]
