"""Runs on a real Docker, step by step as in a worker, and the objects that Docker has of them."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import attrs
import docker

from taskrunner.amounts import Amounts
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.platform import PlatformContext, RunContext
from taskrunner.interfaces.results import Results
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import Progress, RunKey, Secret, Source, Task
from taskrunner.testing import FakeCaches, MemoryLog
from taskrunner_docker import BuildSpec, DockerOptions, DockerPayload, DockerPlatform

T = TypeVar("T")
LIMIT = 120  # seconds for one test, reached only when something hangs


@attrs.define
class DockerBench:
    """One platform for one test, which is open while `run` runs."""

    home: Path
    options: DockerOptions = attrs.field(factory=DockerOptions)
    worker_id: str = "w1"
    log: MemoryLog = attrs.field(factory=MemoryLog)
    service_logs: dict[str, MemoryLog] = attrs.field(factory=dict)
    reported: list[Progress] = attrs.field(factory=list)
    source: Source | None = None
    """Of every run."""
    source_options: SourceOptions = attrs.field(default=SourceOptions().of_operator())
    resources: Amounts = attrs.field(factory=Amounts)
    """Of every run."""
    caches: FakeCaches = attrs.field(init=False)
    platform: DockerPlatform = attrs.field(init=False)
    _runs: int = 0

    def __attrs_post_init__(self) -> None:
        self.caches = FakeCaches(self.home / "caches")

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        return asyncio.run(self.within(work))

    async def within(self, work: Callable[[], Awaitable[T]]) -> T:
        """The same in a loop that runs already."""
        async with asyncio.timeout(LIMIT):
            context = PlatformContext(self.worker_id, self.home, lambda secret: secret.literal)
            self.platform = await DockerPlatform.open(self.options, context)
            try:
                return await work()
            finally:
                await self.platform.dispose()

    async def platform_is_idle(self) -> None:
        """Returns when the platform has no work in the background."""
        keeping = self.platform._housekeeping
        while keeping._working and not keeping._working.done():
            await asyncio.wait({keeping._working})

    async def engine(
        self, secrets: Mapping[str, Secret] | None = None, env: Mapping[str, str] | None = None
    ) -> Engine[DockerPayload]:
        """The engine of a new run."""
        self._runs += 1
        key = RunKey(f"task{self._runs}", 0)
        folder = self.home / "runs" / str(self._runs)
        folder.mkdir(parents=True)
        task = Task(
            key.task_id,
            "docker",
            secrets=secrets or {},
            env=env or {},
            source=self.source,
            resources=self.resources,
        )
        context = RunContext(
            task,
            key,
            folder,
            self.log,
            self.caches,
            self.reveal,
            self.reported.append,
            self.source_options,
            self.new_log,
        )
        return await self.platform.new_engine(context)

    async def loaded(
        self,
        payload: DockerPayload,
        secrets: Mapping[str, Secret] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Engine[DockerPayload]:
        self.platform.check(payload)
        engine = await self.engine(secrets, env)
        try:
            await engine.load(payload)
        except BaseException:
            await engine.discard()
            raise
        return engine

    def new_log(self, name: str) -> MemoryLog:
        self.service_logs[name] = MemoryLog()
        return self.service_logs[name]

    def reveal(self, secret: Secret) -> str:
        self.log.mask(secret.literal)
        return secret.literal


async def built(bench: DockerBench, spec: BuildSpec, **secrets: str) -> Results:
    """The end of a build, with these secrets by the name of their variable."""
    held = {name: Secret(literal=value) for name, value in secrets.items()}
    engine = await bench.loaded(DockerPayload(build=spec), held)
    execution = await engine.start({name: bench.reveal(secret) for name, secret in held.items()})
    return await execution.wait()


@attrs.frozen
class DockerState:
    """The objects that Docker has."""

    containers: frozenset[str]
    runs: frozenset[str]
    """Those of the containers in which tasks and services run, without pause containers."""
    images: frozenset[str]
    """Names, and the ids of images that have none."""
    networks: frozenset[str]
    volumes: frozenset[str]

    @classmethod
    def of(cls, api: docker.APIClient, worker_id: str, home: Path) -> DockerState:
        """Those of one worker, since other programs may use the same Docker, and all names of images."""
        mine = {"label": [f"taskrunner.worker={worker_id}", f"taskrunner.home={home}"]}
        containers = api.containers(all=True, filters=mine)
        return cls(
            frozenset(found["Id"] for found in containers),
            frozenset(found["Id"] for found in containers if "taskrunner.run" in found["Labels"]),
            frozenset(name for found in api.images() for name in found["RepoTags"] or []),
            frozenset(found["Id"] for found in api.networks(filters=mine)),
            frozenset(found["Name"] for found in api.volumes(filters=mine)["Volumes"] or []),
        )


class SourceRepository:
    """A git repository of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._git("init", "-q", "-b", "main")

    @property
    def url(self) -> str:
        return f"file://{self.folder}"

    def commit(self, files: Mapping[str, str]) -> str:
        """Commits these files, and returns the id of the commit."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._git("add", "-A")
        self._git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "change")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True, timeout=LIMIT
        )
        return done.stdout
