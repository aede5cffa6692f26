"""Running an image: the container of one run, until it has started."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from taskrunner.blocking import run_blocking
from taskrunner.errors import (
    Complaint,
    MalformedPayload,
    NotSupported,
    RunLost,
    TaskFailed,
    TaskFailedInternally,
    Unavailable,
    local_failure,
)
from taskrunner.files.untrusted import remove_folder
from taskrunner.interfaces.attachments import ProxyHandler, Service
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.platform import RunContext
from taskrunner.steps.expansion import expand_run_folder
from taskrunner.steps.runner import StepRunner
from taskrunner.steps.step_files import FILES_TIME, StepFiles, make_in_thread
from taskrunner_docker.api.async_stream import Stream
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.container.attachments.run_pod import RunPod
from taskrunner_docker.container.cache_folder import WALK_LIMIT
from taskrunner_docker.container.configuration.command import command_piece
from taskrunner_docker.container.configuration.isolation import isolation_piece
from taskrunner_docker.container.configuration.limits import limits_piece
from taskrunner_docker.container.configuration.mounts import bind, mounts_piece
from taskrunner_docker.container.configuration.pieces import Piece, merged
from taskrunner_docker.container.configuration.streams import streams_piece
from taskrunner_docker.container.creation import create_container
from taskrunner_docker.container.disk import OUT_OF_DISK, out_of_disk
from taskrunner_docker.container.execution import ContainerExecution
from taskrunner_docker.container.source_files import copy_source, owner_of
from taskrunner_docker.container.start_errors import start_error
from taskrunner_docker.container.step_sandbox import KEEP_ALIVE, ContainerSteps, make_files, mounts
from taskrunner_docker.images.image_files import ImageFiles
from taskrunner_docker.images.leased_image import LeasedImage
from taskrunner_docker.images.provision import ImageProvision
from taskrunner_docker.options import DockerOptions
from taskrunner_docker.payload import DockerPayload, Network, refused_complaints
from taskrunner_docker.pod.pool import PausePool
from taskrunner_source import checkout

_ATTACHED = {"caches": "a cache", "mounts": "a mount"}
_DEFAULT_FOLDER = "/work"
"""Where the files of a source go when neither the task nor the image names a folder."""


class ContainerEngine(Engine[DockerPayload]):
    """One container, made and started in `start`.

    Its output comes by an attached stream, which is open before it starts. Docker itself keeps no log of it: that
    doubles the throughput, and the run has its own log.
    """

    def __init__(
        self,
        client: DockerClient,
        labels: WorkerLabels,
        images: ImageProvision,
        context: RunContext,
        *,
        pool: PausePool,
        options: DockerOptions,
    ) -> None:
        self._client, self._labels, self._images, self._context = client, labels, images, context
        self._pool, self._options = pool, options
        self._pod = self._new_pod("bridge")
        self._payload = DockerPayload()
        self._image: LeasedImage | None = None
        self._image_id = ""
        self._working_dir = "/"
        self._user = ""
        self._mounts: dict[str, dict[str, Any]] = {}

    async def load(self, payload: DockerPayload) -> None:
        self._payload = payload
        self._check_allowed()
        self._pod = self._new_pod(payload.network)
        image = await self._lease_image()
        config = image.document["Config"]
        self._working_dir = _plain(self._payload.working_dir or config.get("WorkingDir") or "/")
        self._user = payload.isolation.user or str(config.get("User") or "")
        if self._context.task.source:
            await self._check_out()

    def _check_allowed(self) -> None:
        """What the operator does not let this task have. Raises MalformedPayload."""
        complaints = [*refused_complaints(self._payload, self._options)]
        if self._payload.isolation.read_only_root and self._context.task.source:
            what = "keeps the files of the source out of the container"
            complaints.append(Complaint("isolation.read_only_root", what, "leave out one of it and `source`"))
        if complaints:
            raise MalformedPayload(*complaints)

    def _new_pod(self, network: Network) -> RunPod:
        return RunPod(
            self._client,
            self._labels,
            self._pool,
            images=self._images,
            context=self._context,
            network=network,
            limits=self._options.limits,
        )

    async def _check_out(self) -> None:
        """Into a folder of this machine; `start` copies the files into the container."""
        if self._working_dir == "/":
            self._working_dir = _DEFAULT_FOLDER
        self._source.mkdir()
        self._source.chmod(0o755)  # the container's folder gets it, whatever this worker's umask is
        task = self._context.task
        attached = [*(cache.path for cache in task.caches), *(mount.target for mount in task.mounts)]
        within = [posixpath.relpath(posixpath.join(self._working_dir, path), self._working_dir) for path in attached]
        await checkout(
            self._context, self._source, ignored=[path for path in within if path.split("/")[0] != ".."], moved=True
        )

    @property
    def _source(self) -> Path:
        return self._context.folder / "source"

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        where = self._place("caches", target)
        if where in self._mounts:
            raise MalformedPayload(Complaint("caches", f"{where} has two caches", "give each a folder of its own"))
        self._mounts[where] = bind(folder.path, where, read_only=read_only)

    async def attach_mount(self, path: Path, target: str) -> None:
        where = self._place("mounts", target)
        for other in self._mounts:
            if posixpath.commonpath([where, other]) in {where, other}:
                problem = f"{where} is the same place as {other}, or within it, or around it"
                raise MalformedPayload(Complaint("mounts", problem, "name a path of its own"))
        self._mounts[where] = bind(path, where, read_only=True)

    def _place(self, kind: str, target: str) -> str:
        """The path in the container. Raises MalformedPayload."""
        where = _plain(posixpath.join(self._working_dir, target))
        if ".." in target.split("/") or where == "/":
            problem = f"{target!r} is no place for {_ATTACHED[kind]}"
            raise MalformedPayload(Complaint(kind, problem, "name a folder of its own"))
        if self._context.task.source and posixpath.commonpath([where, self._working_dir]) == where:
            problem = f"{where} is where the files of the source go"
            raise MalformedPayload(Complaint(kind, problem, "name a folder of its own"))
        return where

    async def attach_proxy(self, name: str, handler: ProxyHandler) -> None:
        await self._pod.attach_proxy(name, handler)

    async def attach_service(self, name: str, service: Service) -> None:
        await self._pod.attach_service(name, service)

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> ContainerExecution:
        env = {**self._pod.variables, **expand_run_folder(env, self._context.task, self._working_dir)}
        if not self._payload.steps:
            return await self._start(env, stdin=stdin)
        if stdin:
            raise NotSupported("a standard input for a task of several steps")
        files = await make_in_thread(partial(make_files, self._context.folder))
        try:
            return await self._start(env, stdin=False, files=files)
        except BaseException:
            await run_blocking(files.remove, limit=FILES_TIME, doing="removing the files of the steps")
            raise

    async def _start(
        self, env: Mapping[str, str], *, stdin: bool, files: StepFiles | None = None
    ) -> ContainerExecution:
        streams: list[Stream] = []
        try:
            container = await self._create(
                [*self._pieces(env, stdin=stdin, files=files), await self._pod.network_piece()]
            )
            if self._context.task.source:
                await self._copy_source(container)
            query = {"stream": "1", "stdout": "1", "stderr": "1", **({"stdin": "1"} if stdin else {})}
            path = f"/containers/{container}"
            streams.append(await self._client.stream("POST", f"{path}/attach", query, upgrade=True))
            streams.append(await self._client.stream("POST", f"{path}/wait", {"condition": "next-exit"}))
            await self._client.call(self._client.api.start, container)
        except BaseException as error:
            for stream in streams:
                stream.close()
            with suppress(TaskFailedInternally):  # the worker discards the engine again, and reports what is left
                await self.discard()
            if isinstance(error, Unavailable):
                raise RunLost(error.message) from error
            if isinstance(error, DockerError):
                raise start_error(self._payload.image or self._image_id, error) from None
            raise
        output, ending = streams
        return ContainerExecution(
            self._client,
            self._context,
            container,
            self._working_dir,
            pod=self._pod,
            output=output,
            ending=ending,
            stdin=stdin,
            steps=self._steps(container, env, files) if files else None,
        )

    async def _copy_source(self, container: str) -> None:
        owner = await owner_of(self._client, container, self._user, self._context.log)
        try:
            await copy_source(
                self._client, container, self._source, self._working_dir, owner=owner, hidden=self._mounts.keys()
            )
            left = await run_blocking(
                partial(remove_folder, self._source),
                limit=WALK_LIMIT,
                doing="removing copied files",
                error=TaskFailedInternally,
            )
        except OSError as error:
            raise local_failure(f"the files could not be copied: {error.strerror}", error) from None
        except DockerError:
            if story := await out_of_disk(self._client, container):
                raise TaskFailed(OUT_OF_DISK, f"the files of the source do not fit: {story}") from None
            raise
        for line in left:
            self._context.log.say(line)

    def _steps(self, container: str, env: Mapping[str, str], files: StepFiles) -> ContainerSteps:
        steps = ContainerSteps(self._client, container, self._working_dir)
        steps.runner = StepRunner(self._payload.steps, steps, files, self._context, env)
        return steps

    async def discard(self) -> None:
        self._release_image()
        await self._pod.dispose(self._labels.container_name(self._context.run))

    async def _lease_image(self) -> LeasedImage:
        self._release_image()
        if file := self._payload.image_file:
            image = await ImageFiles(self._images.housekeeping).provide(self._context, file)
        else:
            image = await self._images.provide(self._payload.image, self._payload.pull_policy)
        self._image, self._image_id = image, image.id
        digest = f", {image.digest} in its registry" if image.digest else ""
        self._context.log.say(f"image {self._payload.image or 'of the file'} is {image.id}{digest}")
        return image

    def _release_image(self) -> None:
        if self._image is not None:
            self._image.release()

    async def _create(self, pieces: Iterable[Piece]) -> str:
        """Creates the container, whose image Docker protects from then on. An image that another program, or a worker
        of another home, has removed meanwhile is brought again, once. Raises: DockerError, and the errors of `load`.
        """
        body = merged(pieces)
        self._pod.note_configuration(body)
        name = self._labels.container_name(self._context.run)
        try:
            made = await create_container(self._client, name, body)
        except DockerError as error:
            if error.status != HTTPStatus.NOT_FOUND or await self._images.store.inspect(self._image_id) is not None:
                raise
            body = {**body, "Image": (await self._lease_image()).id}
            made = await create_container(self._client, name, body)
        self._release_image()
        return made

    def _pieces(self, env: Mapping[str, str], *, stdin: bool, files: StepFiles | None) -> Iterator[Piece]:
        """The parts of the container's configuration, each by its own module."""
        yield command_piece(
            self._image_id,
            self._payload.command,
            entrypoint=KEEP_ALIVE if files else None,
            working_dir=self._working_dir,
            env=env,
            labels=self._labels.of_run(self._context.run),
        )
        yield limits_piece(
            self._context.task.resources, self._options.limits.applied(self._payload.limits), self._options.limits.pids
        )
        yield isolation_piece(self._payload.isolation)
        yield streams_piece(attach_stdin=stdin, keep_stdin=files is not None)
        yield mounts_piece(self._mounts.values())
        if files:
            yield mounts_piece(mounts(files))


def _plain(path: str) -> str:
    """An absolute path without dots and doubled slashes."""
    return "/" + posixpath.normpath(path).strip("/")
