"""A platform of processes, written from the documentation alone.

A run is a shell in its folder, whose output goes to a file that is copied to the log. What is needed to find it again,
after a crash too, is in `home/small/WORKER/RUN`: the output, and the exit code when it has ended.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import attrs
import pytest

from taskrunner import (
    Bug,
    CacheFolder,
    Complaint,
    Engine,
    Exec,
    Execution,
    FolderResults,
    Health,
    Input,
    MalformedPayload,
    NotSupported,
    Platform,
    PlatformContext,
    Results,
    RunContext,
    TaskFailed,
    Unavailable,
)
from taskrunner.amounts import Amounts
from taskrunner.interfaces.execution import NO_VARIABLES, Size
from taskrunner.interfaces.results import Entry
from taskrunner.testing import FakeCacheFolder, PlatformConformance, Script
from tests.testing.planted.planting import Bugs
from tests.testing.planted.small_exec import SmallExec
from tests.testing.planted.small_processes import INTERVAL, RUN, PipeInput, kill, kill_all, processes, processes_in

KILLED = 128 + signal.SIGKILL

WRAPPER = (
    'state=$1; shift; "$@" >"$state/output" 2>&1; echo $? >"$state/status.new"; mv "$state/status.new" "$state/status"'
)
"""Its end leaves the exit code in a file, so that another worker can read it."""


@attrs.frozen
class SmallPayload:
    command: tuple[str, ...]


@attrs.frozen
class SmallOptions:
    pass


class SmallPlatform(Platform[SmallPayload, SmallOptions]):
    name = "small"
    takes_stdin = True
    payload = SmallPayload
    options = SmallOptions
    keeps_limits = True

    def __init__(self, context: PlatformContext) -> None:
        self.worker_id, self.home = context.worker_id, context.home / "small"

    @classmethod
    async def open(cls, options: SmallOptions, context: PlatformContext) -> Self:
        return cls(context)

    @classmethod
    def check(cls, payload: SmallPayload) -> None:
        if not payload.command:
            raise MalformedPayload(Complaint("command", "is empty", "write a program and its arguments"))

    def is_down(self) -> bool:
        return (self.home / "down").exists()

    async def new_engine(self, context: RunContext) -> Engine[SmallPayload]:
        if self.is_down():
            raise Unavailable("the service is down")
        self.refuse(context.task.resources)
        state = self.home / self.worker_id / str(context.run).replace("/", "+")
        return self.engine(context, state)

    def refuse(self, resources: Amounts) -> None:
        """It cannot keep any limit."""
        for name in ("memory", "cpus", "pids"):
            if getattr(resources, name) is not None:
                raise Unavailable(f"resources.{name}: this worker cannot limit a process")

    def engine(self, context: RunContext, state: Path) -> SmallEngine:
        return SmallEngine(context, state)

    def new_cache_folder(self, name: str, path: Path) -> CacheFolder:
        return FakeCacheFolder(name, path)

    async def recover(self, handle: str, context: RunContext, log_offset: int) -> Execution:
        state = Path(handle)
        if not (state / "output").exists():
            raise TaskFailed("lost", "the run is gone")
        return SmallExecution(context, state, log_offset)

    async def health(self) -> Health:
        return Health(not self.is_down(), "the service is down: start it" if self.is_down() else "")

    async def clean_up_after(self, worker_id: str) -> list[str]:
        lines = []
        for state in self.states(worker_id):
            await kill_all(RUN, str(state))
            shutil.rmtree(state)
            lines.append(f"removed {state.name}")
        return lines

    def states(self, worker_id: str) -> list[Path]:
        return list((self.home / worker_id).glob("*"))


class SmallEngine(Engine[SmallPayload]):
    def __init__(self, context: RunContext, state: Path) -> None:
        self.context, self.state = context, state
        self.command: tuple[str, ...] = ()
        self.mounts: list[Path] = []

    async def load(self, payload: SmallPayload) -> None:
        self.state.mkdir(parents=True)
        self.command = payload.command

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        place = self.context.folder / target
        if read_only:
            raise NotSupported("read-only caches")
        if ".." in Path(target).parts or os.path.lexists(place):
            raise MalformedPayload(Complaint("caches", "is no target", "write a path of its own"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(folder.path)

    async def attach_mount(self, path: Path, target: str) -> None:
        place = self.context.folder / target
        if ".." in Path(target).parts or any(place.is_relative_to(each) for each in self.mounts):
            raise MalformedPayload(Complaint("mounts", "is no target", "write a path of its own"))
        if os.path.lexists(place) or place.resolve() != place.absolute():
            raise MalformedPayload(Complaint("mounts", "is there already", "write a path of its own"))
        place.parent.mkdir(parents=True, exist_ok=True)
        self.copy(path, place)
        self.mounts.append(place)

    def copy(self, path: Path, place: Path) -> None:
        (shutil.copytree if path.is_dir() else shutil.copy)(path, place)

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        return {"PATH": os.defpath, **env, RUN: str(self.state)}

    def arguments(self, env: Mapping[str, str]) -> list[str]:
        return ["sh", "-c", WRAPPER, "sh", str(self.state), *self.command]

    def folder(self) -> Path:
        return self.context.folder

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        if shutil.which(self.command[0]) is None:
            raise TaskFailed("no-command", f"there is no {self.command[0]}")
        reading, writing = os.pipe() if stdin else (self.standard_input(), None)
        (self.state / "output").touch()
        try:
            await self.launch(env, reading)
        except BaseException:
            await self.undo_start(writing)
            raise
        finally:
            if reading is not None:
                os.close(reading)
        return self.execution(env, writing)

    def standard_input(self) -> int | None:
        return os.open(os.devnull, os.O_RDONLY)

    async def launch(self, env: Mapping[str, str], stdin: int | None) -> None:
        await asyncio.create_subprocess_exec(
            *self.arguments(env), cwd=self.folder(), env=self.environment(env), stdin=stdin,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    async def undo_start(self, writing: int | None) -> None:
        if writing is not None:
            os.close(writing)
        await kill_all(RUN, str(self.state))

    def execution(self, env: Mapping[str, str], stdin: int | None) -> Execution:
        return SmallExecution(self.context, self.state, 0, self.environment(env), stdin)

    async def discard(self) -> None:
        await kill_all(RUN, str(self.state))
        shutil.rmtree(self.state, ignore_errors=True)


class SmallExecution(Execution):
    def __init__(
        self,
        context: RunContext,
        state: Path,
        offset: int,
        env: Mapping[str, str] = NO_VARIABLES,
        stdin: int | None = None,
    ) -> None:
        self.context, self.state, self.offset, self.env = context, state, offset, env
        self.input = None if stdin is None else PipeInput(stdin)
        self.handle = str(state)
        self.aborted = self.over = False
        self.missed = 0
        self.execs: list[SmallExec] = []
        self.end = asyncio.create_task(self.run_to_end())

    @property
    def stdin(self) -> Input:
        if self.input is None:
            raise NotSupported("there is no standard input")
        return self.input

    async def run_to_end(self) -> Results:
        while not self.has_ended():
            await self.copy_output()
            await asyncio.sleep(INTERVAL)
        self.over = True
        await self.end_all()
        await self.copy_rest()
        if self.input:
            await self.input.close()
        for each in self.execs:
            await each.close()
        return self.results(self.exit_code())

    def has_ended(self) -> bool:
        if (self.state / "status").exists():
            return True
        self.missed = 0 if processes(RUN, str(self.state)) else self.missed + 1
        return self.missed > 3  # a process in the middle of `exec` has no environment

    async def end_all(self) -> None:
        await kill_all(RUN, str(self.state))

    def exit_code(self) -> int:
        status = self.state / "status"
        return int(status.read_text()) if status.exists() else KILLED

    def results(self, code: int) -> Results:
        return SmallResults(self.context, self.state, code)

    async def copy_output(self) -> None:
        with (self.state / "output").open("rb") as file:
            file.seek(self.offset)
            while data := file.read(1 << 16):
                self.write(data)

    async def copy_rest(self) -> None:
        await self.copy_output()

    def write(self, data: bytes) -> None:
        self.offset += len(data)
        self.context.log.write(data, "both")

    async def new_exec(
        self, command: Sequence[str], *, tty: Size | None = None, env: Mapping[str, str] = NO_VARIABLES, cwd: str = ""
    ) -> Exec:
        if self.over or self.end.done():
            raise TaskFailed("ended", "the run has ended")
        if shutil.which(command[0]) is None:
            raise TaskFailed("no-command", f"there is no {command[0]}")
        started = await self.start_exec(command, {**self.env, **env}, self.exec_folder() / cwd, tty)
        self.execs.append(started)
        return started

    def exec_folder(self) -> Path:
        return self.context.folder

    async def start_exec(
        self, command: Sequence[str], env: dict[str, str], folder: Path, tty: Size | None
    ) -> SmallExec:
        return await SmallExec.start(command, env, folder, tty)

    async def wait(self) -> Results:
        await asyncio.wait([self.end])
        if self.aborted:
            raise Bug("it was aborted")
        return self.end.result()

    async def kill(self) -> Results:
        if not self.end.done():
            await self.end_all()
        return await self.wait()

    async def abort(self) -> None:
        self.aborted = True
        await self.end_all()
        await asyncio.wait([self.end])
        await self.results(0).dispose()


class SmallResults(FolderResults):
    def __init__(self, context: RunContext, state: Path, code: int) -> None:
        super().__init__(context.folder, context.log, code)
        self.context, self.state, self.folder = context, state, context.folder

    async def archive(self, path: str = ".") -> Entry:
        folder = (self.folder / path).resolve()
        if not folder.is_relative_to(self.folder.resolve()):
            raise PermissionError(path)
        if not folder.is_dir():
            raise NotADirectoryError(path) if folder.exists() else FileNotFoundError(path)
        return Entry(folder.name, None, lambda: self.tar(folder))

    def add(self, tar: tarfile.TarFile, folder: Path) -> None:
        tar.add(folder, ".")

    async def tar(self, folder: Path) -> AsyncIterator[bytes]:
        archive = self.state / "archive.tar"
        with tarfile.open(archive, "w") as tar:
            self.add(tar, folder)
        with archive.open("rb") as file:
            while chunk := file.read(1 << 18):
                yield chunk

    async def dispose(self) -> None:
        await super().dispose()
        shutil.rmtree(self.state, ignore_errors=True)


class SmallPlatformTests(PlatformConformance):
    supports = frozenset({"archive", "caches", "exec", "mounts", "recover", "stdin"})
    plug: ClassVar[type[SmallPlatform]] = SmallPlatform
    home: Path | None = None

    @pytest.fixture(autouse=True)
    def _begin(self, tmp_path: Path) -> None:
        self.begin(tmp_path)

    def begin(self, folder: Path) -> None:
        pass

    def end(self) -> None:
        if self.home:
            kill([*self.living(), *processes_in(self.home.parent)], signal.SIGKILL)  # a bug may forget its own mark

    def living(self) -> list[int]:
        return processes(RUN, f"{self.home}/", prefix=True)

    async def open(self, context: PlatformContext) -> SmallPlatform:
        self.home = context.home / "small"
        return await self.plug.open(SmallOptions(), context)

    def payload(self, script: Script) -> SmallPayload:
        return SmallPayload(("sh", "-c", script.shell))

    def malformed_payload(self) -> SmallPayload:
        return SmallPayload(())

    def payload_that_cannot_start(self) -> SmallPayload:
        return SmallPayload(("no-such-command",))

    async def alive(self) -> list[str]:
        return [f"process {pid}" for pid in self.living()]

    async def left_behind(self) -> list[str]:
        assert self.home
        return [*await self.alive(), *map(str, self.home.glob("*/*"))]

    async def take_down(self) -> None:
        assert self.home
        self.home.mkdir(exist_ok=True)
        (self.home / "down").touch()

    async def bring_back(self) -> None:
        assert self.home
        (self.home / "down").unlink()


PLATFORMS = Bugs(SmallPlatformTests)
