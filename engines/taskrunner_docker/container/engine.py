"""Running an image: the container of one run, until it has started."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from taskrunner.blocking import run_blocking
from taskrunner.errors import Complaint, MalformedPayload, NotSupported, TaskFailed, TaskFailedInternally
from taskrunner.files.untrusted import remove_folder
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.platform import RunContext
from taskrunner.steps.expansion import expand_run_folder
from taskrunner.steps.runner import StepRunner
from taskrunner.steps.step_files import StepFiles
from taskrunner_docker.api.async_stream import Stream
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.cleanup.removal import remove_container
from taskrunner_docker.container.cache_folder import WALK_LIMIT
from taskrunner_docker.container.execution import ContainerExecution
from taskrunner_docker.container.source_files import copy_source, owner_of
from taskrunner_docker.container.step_sandbox import KEEP_ALIVE, ContainerSteps, make_files, mounts
from taskrunner_docker.payload import DockerPayload
from taskrunner_docker.registry.transfer import Transfers
from taskrunner_git import checkout

_DEFAULT_FOLDER = "/work"
"""Where the files of a source go when neither the task nor the image names a folder."""
_FILES_LIMIT = 60.0
"""Seconds to make three small files."""
_BAD_REQUEST, _NOT_FOUND, _CONFLICT = 400, 404, 409


class ContainerEngine(Engine[DockerPayload]):
    """One container, made and started in `start`.

    Its output comes by an attached stream, which is open before it starts. Docker itself keeps no log of it: that
    doubles the throughput, and the run has its own log.
    """

    def __init__(self, client: DockerClient, labels: WorkerLabels, transfers: Transfers, context: RunContext) -> None:
        self._client, self._labels, self._transfers, self._context = client, labels, transfers, context
        self._payload = DockerPayload()
        self._image_id = ""
        self._working_dir = "/"
        self._user = ""
        self._mounts: dict[str, dict[str, Any]] = {}

    async def load(self, payload: DockerPayload) -> None:
        self._payload = payload
        image = await self._inspect_image()
        if image is None:
            await self._transfers.pull(self._payload.image)
            image = await self._inspect_image()
        if image is None:
            gone = f"{self._payload.image} was pulled, and is gone again: does another program remove images?"
            raise TaskFailedInternally(gone)
        self._image_id = str(image["Id"])
        self._working_dir = _plain(self._payload.working_dir or image["Config"].get("WorkingDir") or "/")
        self._user = str(image["Config"].get("User") or "")
        self._context.log.say(f"image {self._payload.image} is {self._image_id}")
        if self._context.task.source:
            await self._check_out()

    async def _check_out(self) -> None:
        """Into a folder of this machine; `start` copies the files into the container."""
        if self._working_dir == "/":
            self._working_dir = _DEFAULT_FOLDER
        self._source.mkdir()
        caches = (posixpath.join(self._working_dir, cache.path) for cache in self._context.task.caches)
        within = [posixpath.relpath(path, self._working_dir) for path in caches]
        await checkout(
            self._context, self._source, ignored=[path for path in within if path.split("/")[0] != ".."], moved=True
        )

    @property
    def _source(self) -> Path:
        return self._context.folder / "source"

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        where = _plain(posixpath.join(self._working_dir, target))
        if ".." in target.split("/") or where == "/":
            raise MalformedPayload(
                Complaint("caches", f"{target!r} is no place for a cache", "name a folder of its own")
            )
        if self._context.task.source and posixpath.commonpath([where, self._working_dir]) == where:
            raise MalformedPayload(
                Complaint("caches", f"{where} is where the files of the source go", "name a folder of its own")
            )
        if where in self._mounts:
            raise MalformedPayload(Complaint("caches", f"{where} has two caches", "give each a folder of its own"))
        mount = {"Type": "bind", "Source": str(folder.path.absolute()), "Target": where, "ReadOnly": read_only}
        self._mounts[where] = mount

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> ContainerExecution:
        env = expand_run_folder(env, self._context.task, self._working_dir)
        if not self._payload.steps:
            return await self._start(env, stdin=stdin)
        if stdin:
            raise NotSupported("a standard input for a task of several steps")
        files = await self._make_files()
        try:
            return await self._start(env, stdin=False, files=files)
        except BaseException:
            await run_blocking(files.remove, limit=_FILES_LIMIT, doing="removing the files of the steps")
            raise

    async def _make_files(self) -> StepFiles:
        try:
            return await run_blocking(
                partial(make_files, self._context.folder),
                limit=_FILES_LIMIT,
                doing="making the files of the steps",
                discard=StepFiles.remove,
                error=TaskFailedInternally,
            )
        except OSError as error:
            raise TaskFailedInternally(f"the files of the steps could not be made: {error.strerror}") from None

    async def _start(
        self, env: Mapping[str, str], *, stdin: bool, files: StepFiles | None = None
    ) -> ContainerExecution:
        streams: list[Stream] = []
        try:
            container = await self._create(self._body(env, stdin=stdin, files=files))
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
            await self.discard()
            if isinstance(error, DockerError):
                raise self._cannot_start(error) from None
            raise
        output, ending = streams
        return ContainerExecution(
            self._client,
            self._context,
            container,
            self._working_dir,
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
            raise TaskFailedInternally(f"the files could not be copied: {error.strerror}") from None
        for line in left:
            self._context.log.say(line)

    def _steps(self, container: str, env: Mapping[str, str], files: StepFiles) -> ContainerSteps:
        steps = ContainerSteps(self._client, container, self._working_dir)
        steps.runner = StepRunner(self._payload.steps, steps, files, self._context, env)
        return steps

    async def discard(self) -> None:
        await remove_container(self._client, self._labels.container_name(self._context.run))

    async def _inspect_image(self) -> dict[str, Any] | None:
        try:
            return cast("dict[str, Any]", await self._client.call(self._client.api.inspect_image, self._payload.image))
        except DockerError as error:
            if error.status == _NOT_FOUND:
                return None
            raise TaskFailedInternally(f"Docker cannot say whether it has {self._payload.image}: {error}") from None

    async def _create(self, body: dict[str, Any]) -> str:
        """Under the name of the run. One that exists is left from a call whose answer was lost, and never ran."""
        name = self._labels.container_name(self._context.run)
        try:
            made = await self._client.call(self._client.api.create_container_from_config, body, name)
        except DockerError as error:
            if error.status != _CONFLICT:
                raise
            await remove_container(self._client, name)
            made = await self._client.call(self._client.api.create_container_from_config, body, name)
        return str(made["Id"])

    def _body(self, env: Mapping[str, str], *, stdin: bool, files: StepFiles | None) -> dict[str, Any]:
        return {
            "Image": self._image_id,
            "Entrypoint": KEEP_ALIVE if files else None,
            "Cmd": list(self._payload.command) or None,
            "WorkingDir": self._working_dir,
            "Env": [f"{name}={value}" for name, value in env.items()],
            "Labels": self._labels.of_run(self._context.run),
            "OpenStdin": stdin or files is not None,
            "StdinOnce": stdin,
            "AttachStdin": stdin,
            "AttachStdout": True,
            "AttachStderr": True,
            "HostConfig": {
                "Init": True,
                "LogConfig": {"Type": "none"},
                "Mounts": [*self._mounts.values(), *(mounts(files) if files else ())],
            },
        }

    def _cannot_start(self, error: DockerError) -> Exception:
        what = f"cannot start the container of {self._payload.image}: {error}"
        if error.status in (_BAD_REQUEST, _NOT_FOUND) or "not a directory" in str(error):
            return TaskFailed("start-failed", f"{what}; check `command`, `working_dir` and where the `caches` go")
        return TaskFailedInternally(what)


def _plain(path: str) -> str:
    """An absolute path without dots and doubled slashes."""
    return "/" + posixpath.normpath(path).strip("/")
