"""FakeBackend and FakeRun: what fake platforms share. Every call, every run, and what is not released."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath
from string import Template
from typing import Literal

import attrs

from taskrunner.errors import Bug
from taskrunner.interfaces.attachments import ProxyHandler, Service
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.execution import Input
from taskrunner.interfaces.platform import RunContext
from taskrunner.interfaces.results import Results
from taskrunner.model import RunKey
from taskrunner.testing.fakes.fetching import fetch
from taskrunner.testing.fakes.payload import FakePayload

Held = Literal["engine", "execution", "results"]
"""The object that holds the resources of a run; each step consumes the object before it."""

STARVED = 137
"""The exit code of a command that its limits have ended."""


@attrs.frozen
class FakeCall:
    """One operation that was called."""

    run: RunKey
    operation: str
    time: float
    """On the loop's clock, in seconds."""


@attrs.define(eq=False)
class FakeBackend:
    """All runs of all workers. It outlives workers that die, as the daemon of a container engine does."""

    calls: list[FakeCall] = attrs.field(factory=list)
    runs: list[FakeRun] = attrs.field(factory=list)
    held: dict[FakeRun, Held] = attrs.field(factory=dict)


class FakeInput(Input):
    """A standard input whose reader always has room."""

    def __init__(self) -> None:
        self.chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = self.broken = False

    async def write(self, data: bytes) -> None:
        if self.closed or self.broken:
            raise BrokenPipeError("this input has no reader any more")
        if data:
            self.chunks.put_nowait(data)

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.chunks.put_nowait(b"")


@attrs.define(eq=False)
class FakeRun:
    """One run: what the worker has passed to it, and its process after the start."""

    backend: FakeBackend = attrs.field(repr=False)
    context: RunContext = attrs.field(repr=False)
    worker_id: str
    """The worker that made the engine."""
    script: FakePayload = attrs.field(factory=FakePayload)
    loaded: bool = False
    env: dict[str, str] = attrs.field(factory=dict, repr=False)
    caches: dict[str, tuple[CacheFolder, bool]] = attrs.field(factory=dict)
    """Target to folder, and whether it is read-only."""
    mounts: dict[str, Path] = attrs.field(factory=dict)
    """Target to content."""
    proxies: dict[str, ProxyHandler] = attrs.field(factory=dict)
    services: dict[str, Service] = attrs.field(factory=dict)
    files: dict[str, bytes] = attrs.field(factory=dict)
    stdin: FakeInput | None = None
    process: asyncio.Task[int] | None = None
    results: Results | None = None
    printed: bytearray = attrs.field(factory=bytearray, repr=False)
    """What the command has printed so far."""
    execs: list[asyncio.Task[int]] = attrs.field(factory=list)

    @property
    def key(self) -> RunKey:
        return self.context.run

    @property
    def starved(self) -> bool:
        """Whether its command needs more memory than its task may have."""
        return self.script.memory > (self.context.task.resources.memory or self.script.memory)

    @property
    def handle(self) -> str:
        return f"{self.worker_id}:{self.key}"

    def called(self, operation: str, *, held: Held | None = None) -> None:
        """Records a call. `held` is the object that the run must be held by.

        Raises: Bug when it is another one.
        """
        self.backend.calls.append(FakeCall(self.key, operation, asyncio.get_running_loop().time()))
        now = self.backend.held.get(self)
        if held is not None and now != held:
            raise Bug(f"{operation} of {self.key} needs its {held}, but what is held is {now or 'nothing'}")

    def start(self) -> None:
        self.process = asyncio.create_task(self._process(), name=f"fake process of {self.key}")
        self.process.add_done_callback(self._process_ended)

    def go_on(self, context: RunContext, log_offset: int) -> None:
        """Prints to another log from now on, which has so many bytes already."""
        self.context = context
        context.log.write(bytes(self.printed[log_offset:]))

    def _print(self, data: bytes) -> None:
        self.printed += data
        self.context.log.write(data)

    async def end(self) -> None:
        """Kills the process and what runs beside it."""
        if self.process is not None:
            self.process.cancel()
            await asyncio.wait([self.process, *self.execs])

    def _process_ended(self, process: asyncio.Task[int]) -> None:
        if self.stdin is not None:
            self.stdin.broken = True
        if not process.cancelled():
            process.exception()  # retrieved here, since `wait` may never be called
        for task in self.execs:
            task.cancel()

    async def _process(self) -> int:
        """The command: returns its exit code."""
        script = self.script
        if self.starved or script.processes > (self.context.task.resources.pids or script.processes):
            return STARVED
        for path, text in script.files.items():
            self._make(path, text.encode())
        self._print(script.log.encode(errors="surrogateescape"))
        self._print("".join(f"{name}={self.env[name]}\n" for name in script.print_env if name in self.env).encode())
        if script.print_file:
            self._print(self._read(script.print_file))
        if script.fetch:
            url = Template(script.fetch).safe_substitute(self.env)
            self._print(await fetch(url, self.proxies, self.services))
        await self._take_time(script)
        self._print(script.log_after.encode())
        return script.exit_code

    async def _take_time(self, script: FakePayload) -> None:
        if script.hang_at == "wait":
            await asyncio.get_running_loop().create_future()
        left = script.run_for
        while 0 < script.log_every <= left:
            await asyncio.sleep(script.log_every)
            self._print(script.log.encode(errors="surrogateescape"))
            left -= script.log_every
        await asyncio.sleep(left)
        if script.print_stdin and self.stdin is not None:
            while data := await self.stdin.chunks.get():
                self._print(data)

    # ---- files: in memory, but for those in caches and mounts ------------------------------------------------------

    def _make(self, path: str, data: bytes) -> None:
        cached, read_only = self._attached(path)
        if read_only:
            self._print(f"{path}: read-only\n".encode())
        elif cached is None:
            self.files[str(PurePosixPath(path))] = data
        else:
            cached.parent.mkdir(parents=True, exist_ok=True)
            cached.write_bytes(data)

    def _read(self, path: str) -> bytes:
        cached, _ = self._attached(path)
        if cached is not None and cached.is_file():
            return cached.read_bytes()
        if path in self.files:
            return self.files[path]
        return f"{path}: no such file\n".encode()

    def _attached(self, path: str) -> tuple[Path | None, bool]:
        """The file of a cache or of a mount that has this path, and whether it is read-only."""
        for target, content in self.mounts.items():
            if PurePosixPath(path).is_relative_to(target):
                return content / PurePosixPath(path).relative_to(target), True
        return self._cached(path)

    def _cached(self, path: str) -> tuple[Path | None, bool]:
        for target, (folder, read_only) in self.caches.items():
            if PurePosixPath(path).is_relative_to(target):
                return folder.path / PurePosixPath(path).relative_to(target), read_only
        return None, False


__all__ = ["FakeBackend", "FakeCall", "FakeInput", "FakeRun", "Held"]
