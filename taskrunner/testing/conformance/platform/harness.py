"""The harness of the tests of platforms: opens a platform, takes runs from step to step, and checks what is left."""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from taskrunner.errors import NotSupported
from taskrunner.interfaces.attachments import Service
from taskrunner.interfaces.platform import Platform, PlatformContext
from taskrunner.model import RunKey
from taskrunner.testing.conformance.kit import ConformanceKit
from taskrunner.testing.conformance.platform.script import Script
from taskrunner.testing.conformance.platform.trial import Trial, joined, write_on
from taskrunner.testing.fakes.caches import FakeCaches

Option = Literal["archive", "caches", "exec", "mounts", "proxies", "recover", "services", "stdin"]
"""An operation that a platform may leave out. It then raises NotSupported, which is tested too."""

WORKERS_OWN = "TASKRUNNER_CONFORMANCE"
"""A variable of the worker's own environment during each test, which no run may see."""

K = TypeVar("K", bound="PlatformKit")


class PlatformKit(ConformanceKit, ABC):
    """What the author of a platform defines."""

    supports: ClassVar[frozenset[Option]] = frozenset()
    """The optional operations that the platform has."""
    in_memory: ClassVar[bool] = False
    """Whether the files of a run are in the memory of this process, as a fake's are. Then large ones are not asked."""

    @abstractmethod
    async def open(self, context: PlatformContext) -> Platform[Any, Any]:
        """Opens the platform for a worker; up to three times in a test, with one home and different worker ids."""

    @abstractmethod
    def payload(self, script: Script) -> Any:
        """The payload of a run that follows the script: often `MyPayload(command=["sh", "-c", script.shell])`."""

    def malformed_payload(self) -> Any:
        """A payload that `check` refuses. By default there is none."""
        raise NotSupported("every payload is well-formed")

    def payload_that_cannot_start(self) -> Any:
        """A payload that `check` takes, and whose `load` or `start` fails: a command, an image that does not exist. By
        default there is none."""
        raise NotSupported("every payload starts")

    def service(self, answer: str) -> Service:
        """A service that answers each HTTP request to its port 8000 with this text, and is ready when it does. Needed
        by a platform that has services."""
        raise NotSupported(f"a service that answers {answer!r}")

    def service_that_fails(self) -> Service:
        """A service that is never ready: it ends, or its limit is short. Needed by a platform that has services."""
        raise NotSupported("services")

    async def alive(self) -> list[str]:
        """What is running now, of all runs: processes, containers. Called at moments when nothing may run. By default
        the tests rely on `clean_up_after`, which has to find nothing at the end of each test.
        """
        return []

    async def left_behind(self) -> list[str]:
        """What exists now of all runs beside their folders: containers, networks, images, files in the home. Called at
        moments when nothing may be left. By default what is `alive`."""
        return await self.alive()

    # ---- for the tests ----------------------------------------------------------------------------------

    async def perform(self, test: Callable[[Any, PlatformHarness], Coroutine[Any, Any, None]], home: Path) -> None:
        """Runs one test on a new platform, releases what the test holds at its end, and checks that nothing is left."""
        before = asyncio.all_tasks()
        harness = PlatformHarness(self, home)
        harness.platform = await harness.opened("w1")
        try:
            await test(self, harness)
        finally:
            await harness.release()
        await harness.find_nothing()
        if running := asyncio.all_tasks() - before:  # those of workers that a test calls dead end soon
            await asyncio.wait(running, timeout=1)
        left = [task.get_coro() for task in asyncio.all_tasks() - before]
        assert left == [], "tasks go on after the platform was disposed of"


def scenario(test: Callable[[K, PlatformHarness], Coroutine[Any, Any, None]]) -> Callable[[K, Path], None]:
    """Makes a test for pytest of a coroutine function that takes a harness."""

    def run_test(self: K, tmp_path: Path) -> None:
        with _own_variable():
            self.bounded(self.perform(test, tmp_path))

    functools.update_wrapper(run_test, test)
    del run_test.__wrapped__  # type: ignore[attr-defined]  # pytest would read its arguments
    return run_test


@contextmanager
def _own_variable() -> Iterator[None]:
    os.environ[WORKERS_OWN] = "a credential of the worker"
    try:
        yield
    finally:
        del os.environ[WORKERS_OWN]


class PlatformHarness:
    """The platforms that a test opens, and every run that it makes on them."""

    platform: Platform[Any, Any]

    def __init__(self, kit: PlatformKit, home: Path) -> None:
        self.kit, self.home = kit, home
        self.caches = FakeCaches(home / "caches")
        self._platforms: dict[str, Platform[Any, Any]] = {}
        self._trials: list[Trial] = []
        self._token = secrets.token_hex(4)

    def unique(self, name: str) -> str:
        """The id of a worker or a task: no other test has it, also none that runs on this machine at the same time."""
        return f"{name}-{self._token}"

    async def opened(self, worker: str) -> Platform[Any, Any]:
        """The platform of one more worker, which is disposed of at the end of the test."""
        context = PlatformContext(self.unique(worker), self.home, lambda secret: secret.literal)
        self._platforms[worker] = self.kit.checker.wrap(await self.kit.open(context), Platform)
        return self._platforms[worker]

    def trial(self, platform: Platform[Any, Any] | None = None) -> Trial:
        """A run before its engine is made."""
        number = len(self._trials)
        key, folder = RunKey(self.unique(f"task{number}"), 0), self.home / "runs" / str(number)
        trial = Trial(self, platform or self.platform, key, folder)
        trial.folder.mkdir(parents=True)
        self._trials.append(trial)
        return trial

    async def started(
        self,
        script: Script,
        env: Mapping[str, str] | None = None,
        *,
        stdin: bool = False,
        platform: Platform[Any, Any] | None = None,
    ) -> Trial:
        trial = self.trial(platform)
        await trial.load(script)
        await trial.start(env or {}, stdin=stdin)
        return trial

    async def finished(self, script: Script, env: Mapping[str, str] | None = None) -> Trial:
        trial = await self.started(script, env)
        await trial.wait()
        return trial

    def forget(self, worker: str) -> None:
        """The platform of this worker was disposed of by the test, which happens once."""
        del self._platforms[worker]

    async def release(self) -> None:
        try:
            for trial in self._trials:
                await trial.release()
        finally:
            for platform in self._platforms.values():
                await platform.dispose()

    async def find_nothing(self) -> None:
        """Asserts that neither `clean_up_after` nor the platform's own `alive` finds anything."""
        workers = list(self._platforms)
        successor = await self.opened("successor")
        found = [line for worker in workers for line in await successor.clean_up_after(self.unique(worker))]
        await successor.dispose()
        assert found == [], "something was left, though every engine, execution and result was released"
        assert await self.kit.alive() == []
        assert await self.kit.left_behind() == []


__all__ = ["WORKERS_OWN", "Option", "PlatformHarness", "PlatformKit", "Trial", "joined", "scenario", "write_on"]
