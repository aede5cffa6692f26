"""A platform of the full interface: runs a script by an interpreter of this machine, and leaves no process."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

import attrs
import psutil

from taskrunner import (
    Bug,
    Complaint,
    Engine,
    Execution,
    FolderResults,
    MalformedPayload,
    NotSupported,
    Platform,
    PlatformContext,
    Progress,
    Results,
    RunContext,
    TaskFailed,
    TaskFailedInternally,
    run_blocking,
)

RUN, WORKER = "SCRIPT_RUN", "SCRIPT_WORKER"
"""Environment variables by which the processes of a run are found: child processes inherit them."""

KILL_TIME = 30.0
"""Seconds after which a process that does not die hangs in the kernel."""

MISSES = 2
"""Searches without a find that are enough: a process that begins a program has no variables for a moment."""

WRITE_TIME = 60.0
"""Seconds to write to the log; a disk that takes longer is broken."""


@attrs.frozen
class ScriptPayload:
    """What a task says."""

    script: str
    """The text that the interpreter runs."""
    interpreter: str = "sh"
    """A program that takes the name of a file."""


@attrs.frozen
class ScriptOptions:
    """The table `[script]` of the worker's configuration."""

    nice: int = 0
    """The niceness of a script, 0 to 19: a higher number gets less processor time."""


class ScriptPlatform(Platform[ScriptPayload, ScriptOptions]):
    name = "script"
    payload = ScriptPayload
    options = ScriptOptions

    def __init__(self, options: ScriptOptions, worker_id: str) -> None:
        self._options, self._worker_id = options, worker_id

    @classmethod
    async def open(cls, options: ScriptOptions, context: PlatformContext) -> Self:
        return cls(options, context.worker_id)

    @classmethod
    def check(cls, payload: ScriptPayload) -> None:
        if not payload.script.strip():
            raise MalformedPayload(Complaint("script", "is empty", "write what is to be run"))

    async def new_engine(self, context: RunContext) -> Engine[ScriptPayload]:
        marks = {RUN: f"{context.run}@{self._worker_id}", WORKER: self._worker_id}
        return ScriptEngine(context, marks, self._options.nice)

    async def clean_up_after(self, worker_id: str) -> list[str]:
        return [f"killed process {pid}" for pid in await kill_all(WORKER, worker_id)]


class ScriptEngine(Engine[ScriptPayload]):
    """One script, before it runs."""

    def __init__(self, context: RunContext, marks: Mapping[str, str], nice: int) -> None:
        self._context, self._marks, self._nice = context, marks, nice
        self._interpreter = ""

    async def load(self, payload: ScriptPayload) -> None:
        self._interpreter = shutil.which(payload.interpreter) or ""
        if not self._interpreter:
            raise TaskFailed("no-interpreter", f"there is no {payload.interpreter} here: install it")
        self._script.write_text(payload.script)
        self._context.progress(Progress("script", len(payload.script), len(payload.script)))

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        if stdin:
            raise NotSupported("a script has no standard input")
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                "nice", "-n", str(self._nice), self._interpreter, str(self._script),
                cwd=self._context.folder, env={"PATH": os.defpath, **env, **self._marks},
                stdin=asyncio.subprocess.DEVNULL, stdout=writing, stderr=writing,
            )  # fmt: skip
        except BaseException as error:  # a cancellation is one: `discard` ends what has started
            os.close(reading)
            if isinstance(error, OSError):
                raise TaskFailedInternally(f"the script cannot be started: {error.strerror}") from None
            raise
        finally:
            os.close(writing)
        return ScriptExecution(process, reading, self._context, self._marks[RUN])

    async def discard(self) -> None:
        await kill_all(RUN, self._marks[RUN])
        self._script.unlink(missing_ok=True)

    @property
    def _script(self) -> Path:
        return self._context.folder / ".script"


class ScriptExecution(Execution):
    """The script as it runs. It ends with its first process; other processes of the run are killed then."""

    def __init__(self, process: asyncio.subprocess.Process, output: int, context: RunContext, mark: str) -> None:
        self._process, self._context, self._mark = process, context, mark
        self._aborted = False
        self._end = asyncio.create_task(self._run_to_end(output))

    async def wait(self) -> Results:
        await asyncio.wait([self._end])  # a cancelled wait does not cancel the run
        if self._aborted:
            raise Bug("a script that was aborted has no results")
        return self._end.result()

    async def kill(self) -> Results:
        await kill_all(RUN, self._mark)
        return await self.wait()

    async def abort(self) -> None:
        self._aborted = True
        await kill_all(RUN, self._mark)
        await asyncio.wait([self._end])
        await FolderResults(self._context.folder, self._context.log, 0).dispose()

    async def _run_to_end(self, output: int) -> FolderResults:
        copying = asyncio.create_task(self._copy(output))
        status = await self._process.wait()
        await kill_all(RUN, self._mark)
        await copying
        code = status if status >= 0 else 128 - status
        return FolderResults(self._context.folder, self._context.log, code)

    async def _copy(self, output: int) -> None:
        """Copies from the pipe to the log, until the last process that can write has ended."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb"))
        try:
            while data := await reader.read(1 << 16):
                write = partial(self._context.log.write, data, "both")
                await run_blocking(write, limit=WRITE_TIME, doing="writing the log")
        except (TaskFailedInternally, TimeoutError) as error:
            await kill_all(RUN, self._mark)  # a run without a log must not go on
            raise TaskFailedInternally(f"the log cannot be written: {error}") from None
        finally:
            pipe.close()


async def kill_all(variable: str, value: str) -> list[int]:
    """Kills each process that has this variable, until there is none. Raises TaskFailedInternally."""
    killed = set[int]()
    kill = partial(_kill_found, variable, value)
    try:
        async with asyncio.timeout(KILL_TIME):
            misses = 0
            while misses < MISSES:
                found = await run_blocking(kill, limit=KILL_TIME, doing="killing processes")
                killed.update(found)
                misses = 0 if found else misses + 1
                await asyncio.sleep(0.01)  # a process takes a moment to die, and may have started others meanwhile
    except TimeoutError:
        raise TaskFailedInternally(f"processes cannot be killed: {sorted(killed)}") from None
    return sorted(killed)


def _kill_found(variable: str, value: str) -> list[int]:
    found = [each for each in psutil.process_iter(["environ"]) if (each.info["environ"] or {}).get(variable) == value]
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return [process.pid for process in found]
