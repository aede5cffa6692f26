"""The pod of one run: the network that its containers share, its services, and its proxies.

::

    isolated, none    a namespace with a loopback interface alone; `none` has no services
    bridge            the same with an interface on Docker's default network
    host              the network of the machine, without a pod: neither services nor proxies
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.errors import Complaint, MalformedPayload, NotSupported, TaskFailedInternally, local_failure
from taskrunner.interfaces.attachments import ProxyHandler, Service
from taskrunner.interfaces.platform import RunContext
from taskrunner.proxies.names import check_host_name
from taskrunner.proxies.run_proxies import RunProxies
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.cleanup.removal import remove_container
from taskrunner_docker.container.attachments.hosts_file import HostsFile
from taskrunner_docker.container.attachments.readiness import readiness
from taskrunner_docker.container.attachments.running_service import RunningService
from taskrunner_docker.container.configuration.command import command_piece
from taskrunner_docker.container.configuration.isolation import isolation_piece
from taskrunner_docker.container.configuration.limits import limits_piece
from taskrunner_docker.container.configuration.network import HOST_NETWORK, joined_network
from taskrunner_docker.container.configuration.pieces import Piece, merged
from taskrunner_docker.container.configuration.streams import streams_piece
from taskrunner_docker.images.provision import ImageProvision
from taskrunner_docker.isolation import ContainerIsolation
from taskrunner_docker.limits import ContainerLimits, LimitOptions
from taskrunner_docker.payload import Network
from taskrunner_docker.pod.cleanliness import has_more_rights
from taskrunner_docker.pod.namespace import listen_in_namespace
from taskrunner_docker.pod.pause import Pause, PodNetwork
from taskrunner_docker.pod.pool import PausePool
from taskrunner_docker.registry.references import Reference

_SERVICE_ADDRESS = "127.0.0.1"
_PROXY_ADDRESS = "127.100.0.{}"
"""Each proxy has an address of its own, since all have the same port. The whole network is the loopback interface's."""
_PROXY_PORT = 80
_MAX_PROXIES = 254
_LISTEN_LIMIT = 10.0
"""Seconds to make a listener, which takes about a millisecond."""


class RunPod:
    """Takes a namespace of the pool when something needs it."""

    def __init__(
        self,
        client: DockerClient,
        labels: WorkerLabels,
        pool: PausePool,
        *,
        images: ImageProvision,
        context: RunContext,
        network: Network,
        limits: LimitOptions,
    ) -> None:
        self._client, self._labels, self._pool, self._images = client, labels, pool, images
        self._context, self._network, self._limits = context, network, limits
        self._hosts = HostsFile(context.folder / "hosts")
        self._proxies = RunProxies(context.log.say)
        self._services: dict[str, RunningService] = {}
        self._pause: Pause | None = None
        self._clean = True
        self.memory_stories: list[str] = []
        """Of services of which the kernel has killed any process for memory. Complete after `end`."""

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables by which the task finds the proxies."""
        return self._proxies.variables

    async def network_piece(self) -> Piece:
        """For the container of the task. Raises TaskFailedInternally, Unavailable."""
        if self._network == "host":
            return HOST_NETWORK
        return joined_network((await self._joined()).container, self._hosts.mounted)

    def note_configuration(self, body: Mapping[str, Any]) -> None:
        """A container of the run gets this configuration: with more rights, it may leave its network changed."""
        self._clean = self._clean and not has_more_rights(body)

    async def attach_service(self, name: str, service: Service) -> None:
        """Raises: what `Engine.attach_service` raises."""
        check_host_name("services", name, self._names)
        if self._network in {"none", "host"}:
            fix = 'write `network = "isolated"` for a task that reaches its services alone, or "bridge"'
            raise MalformedPayload(Complaint("services", f'there are none with network = "{self._network}"', fix))
        _check_image(service.image)
        pause = await self._joined()
        image = await self._images.provide(service.image)
        try:
            await self._start(name, service, pause, image.document)
        finally:
            image.release()

    async def _start(self, name: str, service: Service, pause: Pause, image: dict[str, Any]) -> None:
        self._add_name(pause, _SERVICE_ADDRESS, name)
        log = self._context.new_log(name)
        container = self._labels.service_name(self._context.run, name)
        self._services[name] = running = RunningService(self._client, name, container, log, self._context.log)
        self._context.log.say(f"starting the service {name}: {service.image}")
        body = merged(self._service_pieces(pause, str(image["Id"]), service))
        await running.start(body, readiness(service.ready, image, self._client, pause), service.limit)

    async def attach_proxy(self, name: str, handler: ProxyHandler) -> None:
        """Raises: what `Engine.attach_proxy` raises."""
        check_host_name("proxies", name, self._names)
        if self._network == "host":
            raise NotSupported("proxies in the network of the machine")
        pause, number = await self._joined(), len(self._proxies.urls) + 1
        if number > _MAX_PROXIES or not pause.is_in_sight:
            raise NotSupported("proxies in a network that cannot be seen from here: Docker is on another machine")
        address = _PROXY_ADDRESS.format(number)
        listen = partial(listen_in_namespace, pause.pid, address, _PROXY_PORT)
        try:
            listener = await run_blocking(
                listen, limit=_LISTEN_LIMIT, doing="listening", discard=lambda late: late.close()
            )
        except PermissionError:
            raise NotSupported(
                "proxies by a worker that may not enter the network of a container: it is not root"
            ) from None
        except (OSError, OverLimit) as error:
            raise local_failure(f"the proxy {name} cannot listen: {error}", error) from None
        await self._proxies.add(name, handler, listener, f"http://{name}/")
        self._add_name(pause, address, name)

    async def end(self) -> None:
        """Nothing beside the task is alive after this. A second call does nothing. Raises TaskFailedInternally."""
        await self._proxies.close()
        problems = await asyncio.gather(*(_problem(each.remove()) for each in self._services.values()))
        _raise_all(problems)
        self.memory_stories += filter(None, (each.memory.story for each in self._services.values()))
        self._services.clear()

    async def dispose(self, container: str) -> None:
        """Removes the container of the task and everything beside it, and gives the namespace back. A second call does
        nothing. Raises TaskFailedInternally with a line for each thing that is left."""
        problems = [await _problem(self.end()), await _problem(remove_container(self._client, container))]
        if self._pause:
            clean = self._clean and not any(problems)
            problems.append(await _problem(self._pool.release(self._pause, clean=clean)))
            self._pause = None if not problems[-1] else self._pause
        self._hosts.remove()
        _raise_all(problems)

    @property
    def _names(self) -> set[str]:
        return {*self._services, *self._proxies.urls}

    async def _joined(self) -> Pause:
        if self._pause is None:
            network: PodNetwork = "bridge" if self._network == "bridge" else "none"
            try:
                self._pause = await self._pool.acquire(network, self._context.run)
            except DockerError as error:
                raise TaskFailedInternally(f"the network of the run cannot be made: {error}") from None
        return self._pause

    def _add_name(self, pause: Pause, address: str, name: str) -> None:
        try:
            self._hosts.add(address, name, pause.shared_files.get("etc/hosts", b""))
        except OSError as error:
            raise local_failure(f"the file of the run's host names cannot be written: {error}", error) from None

    def _service_pieces(self, pause: Pause, image_id: str, service: Service) -> list[Piece]:
        labels = self._labels.of_run(self._context.run)
        return [
            command_piece(image_id, service.command, entrypoint=None, working_dir="", env=service.env, labels=labels),
            streams_piece(attach_stdin=False, keep_stdin=False),
            limits_piece(service.resources, self._limits.applied(ContainerLimits()), self._limits.pids),
            isolation_piece(ContainerIsolation()),
            joined_network(pause.container, self._hosts.mounted),
        ]


def _check_image(name: str) -> None:
    try:
        Reference.parse(name)
    except ValueError as error:
        fix = "write it as registry.example/team/app:1.0"
        raise MalformedPayload(Complaint("services", f"{name!r} is no image name: {error}", fix)) from None


async def _problem(work: Awaitable[None]) -> str:
    """Empty when it succeeds."""
    try:
        await work
    except TaskFailedInternally as error:
        return str(error)
    return ""


def _raise_all(problems: list[str]) -> None:
    if left := [problem for problem in problems if problem]:
        raise TaskFailedInternally("\n".join(left))
