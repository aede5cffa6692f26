"""FakePlatform: a platform in memory that does what the payload says.

It keeps every contract of a platform, and is stricter: a call in the wrong order is a Bug. Afterwards it reports which
operations were called, and what was not released::

    platform = FakePlatform()
    ...                                        # run a worker whose `fake` platform is `platform.plugin()`
    assert platform.trace("build") == ["new-engine", "load", "start", "wait", "archive", "deliver", "dispose"]
    assert platform.alive == []

It waits by `asyncio.sleep` only, so its hours take milliseconds on `taskrunner.testing.clock`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Self

import attrs

from taskrunner.errors import Bug, Complaint, MalformedPayload, TaskFailed
from taskrunner.interfaces.attachments import ProxyHandler, Service, proxy_variable
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.platform import HEALTHY, Platform, PlatformContext, RunContext
from taskrunner.model import Health, Progress, RunKey
from taskrunner.proxies.names import check_host_name
from taskrunner.testing.fakes.caches import FakeCacheFolder
from taskrunner.testing.fakes.execution import FakeExecution
from taskrunner.testing.fakes.fetching import FAILING
from taskrunner.testing.fakes.payload import FakePayload, scripted_error
from taskrunner.testing.fakes.run import FakeBackend, FakeInput, FakeRun

"""A label of a host name (RFC 1123)."""


@attrs.frozen
class FakeOptions:
    """The platform's table in a worker's configuration, which has no keys."""


class FakePlatform(Platform[FakePayload, FakeOptions]):
    """A platform whose runs follow the script in their payload."""

    name = "fake"
    keeps_limits = True
    takes_services = True
    takes_stdin = True
    payload = FakePayload
    options = FakeOptions

    engine_error: Exception | None = None
    """Set by a test: what `new_engine` raises from now on."""
    current_health: Health = HEALTHY
    """Set by a test: what `health` says from now on."""

    def __init__(self, backend: FakeBackend | None = None, worker_id: str = "worker") -> None:
        self.backend = backend or FakeBackend()
        self.worker_id = worker_id

    @classmethod
    async def open(cls, options: FakeOptions, context: PlatformContext) -> Self:  # noqa: ARG003  there are no options
        return cls(worker_id=context.worker_id)

    def plugin(self) -> type[FakePlatform]:
        """The class to give to a worker. The platforms that workers open by it share this one's backend and its
        settings, so that a worker finds what a worker before it has left.
        """
        return type("FakePlatform", (_Plugged,), {"original": self})

    # ---- what a test reads ------------------------------------------------------------------------------

    @property
    def alive(self) -> list[str]:
        """What has not been released: `t1/0 engine`, `t1/0 execution`, `t1/0 results`."""
        return [f"{run.key} {stage}" for run, stage in self.backend.held.items()]

    def trace(self, task_id: str, run_id: int = 0) -> list[str]:
        """The operations that were called for one run, in their order."""
        key = RunKey(task_id, run_id)
        return [call.operation for call in self.backend.calls if call.run == key]

    def run(self, task_id: str, run_id: int = 0) -> FakeRun:
        """One run, with its environment, caches and services. Raises LookupError."""
        key = RunKey(task_id, run_id)
        for run in reversed(self.backend.runs):
            if run.key == key:
                return run
        raise LookupError(f"no engine was made for {key}")

    # ---- the platform -----------------------------------------------------------------------------------

    @classmethod
    def check(cls, payload: FakePayload) -> None:
        negative = [name for name in ("load_for", "run_for", "deliver_for", "log_every") if getattr(payload, name) < 0]
        if negative:
            raise MalformedPayload(*(Complaint(name, "is negative", "give seconds") for name in negative))
        if payload.fail_at == "check":
            raise scripted_error("check", "reject" if payload.error == "reject" else "malformed")

    async def new_engine(self, context: RunContext) -> Engine[FakePayload]:
        run = FakeRun(self.backend, context, self.worker_id)
        run.called("new-engine")
        if self.engine_error is not None:
            raise self.engine_error
        self.backend.runs.append(run)
        self.backend.held[run] = "engine"
        return FakeEngine(run)

    def new_cache_folder(self, name: str, path: Path) -> CacheFolder:
        return FakeCacheFolder(name, path)

    async def recover(self, handle: str, context: RunContext, log_offset: int) -> FakeExecution:
        for run, held in self.backend.held.items():
            if run.handle == handle and held == "execution":
                run.go_on(context, log_offset)
                return FakeExecution(run)
        raise TaskFailed("lost", f"no run has the handle {handle!r}: it has ended, or its worker cleaned up")

    async def health(self) -> Health:
        return self.current_health

    async def clean_up_after(self, worker_id: str) -> list[str]:
        return await self._clean_up([run for run in self.backend.held if run.worker_id == worker_id])

    async def clean_up_run(self, worker_id: str, run: RunKey) -> list[str]:
        left = [each for each in self.backend.held if (each.worker_id, each.key) == (worker_id, run)]
        return await self._clean_up(left)

    async def _clean_up(self, left: list[FakeRun]) -> list[str]:
        lines = [f"{run.key}: removed its {self.backend.held[run]}" for run in left]
        for run in left:
            await run.end()
            self.backend.held.pop(run)
        return lines


class _Plugged(FakePlatform):
    """A platform that a worker has opened, with the backend and the settings of the original, which a test holds."""

    original: FakePlatform

    @classmethod
    async def open(cls, options: FakeOptions, context: PlatformContext) -> Self:  # noqa: ARG003  there are no options
        return cls(cls.original.backend, context.worker_id)

    async def new_engine(self, context: RunContext) -> Engine[FakePayload]:
        self.engine_error = self.original.engine_error
        return await super().new_engine(context)

    async def health(self) -> Health:
        return self.original.current_health


class FakeEngine(Engine[FakePayload]):
    """One run before its start."""

    def __init__(self, run: FakeRun) -> None:
        self.run = run

    async def load(self, payload: FakePayload) -> None:
        self.run.called("load", held="engine")
        if self.run.loaded:
            raise Bug("load is called once")
        self.run.loaded, self.run.script = True, payload
        self.run.context.progress(Progress("load", 0, 1, unit=""))
        await asyncio.sleep(self.run.script.load_for)
        await self.run.script.inject_fault("load")
        self.run.context.progress(Progress("load", 1, 1, unit=""))

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        self._attach("attach-cache")
        path = PurePosixPath(target)
        if not target or ".." in path.parts or str(path) in self.run.caches:
            raise MalformedPayload(Complaint("caches", f"{target!r} cannot be a target", "give a path of its own"))
        self.run.caches[str(path)] = (folder, read_only)

    async def attach_mount(self, path: Path, target: str) -> None:
        self._attach("attach-mount")
        place = PurePosixPath(target)
        taken = map(PurePosixPath, (*self.run.caches, *self.run.mounts))
        if ".." in place.parts or any(place.is_relative_to(each) or each.is_relative_to(place) for each in taken):
            raise MalformedPayload(Complaint("mounts", f"{target!r} cannot be a target", "give a path of its own"))
        self.run.mounts[str(place)] = path

    async def attach_proxy(self, name: str, handler: ProxyHandler) -> None:
        self._attach("attach-proxy")
        check_host_name("proxies", name, {*self.run.proxies, *self.run.services})
        self.run.proxies[name] = handler

    async def attach_service(self, name: str, service: Service) -> None:
        self._attach("attach-service")
        check_host_name("services", name, {*self.run.proxies, *self.run.services})
        if service.image == FAILING:
            raise TaskFailed("service-failed", f"the service {name} is not ready: its image says so")
        self.run.services[name] = service

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> FakeExecution:
        self._attach("start")
        await self.run.script.inject_fault("start")
        urls = {proxy_variable(name): f"http://{name}/" for name in self.run.proxies}
        self.run.env, self.run.stdin = {**urls, **env}, FakeInput() if stdin else None
        self.run.start()
        self.run.backend.held[self.run] = "execution"
        return FakeExecution(self.run)

    async def discard(self) -> None:
        if self.run.backend.held.get(self.run, "engine") != "engine":
            raise Bug("the engine was consumed by start")
        self.run.called("discard")
        await self.run.script.inject_fault("discard")
        self.run.backend.held.pop(self.run, None)

    def _attach(self, operation: str) -> None:
        self.run.called(operation, held="engine")
        if not self.run.loaded:
            raise Bug(f"{operation} comes after load")


__all__ = ["FakeEngine", "FakeOptions", "FakePlatform"]
