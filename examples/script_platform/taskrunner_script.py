"""A platform against the full interface: runs a script by an interpreter of this machine, and leaves no process."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
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
)

RUN, WORKER = "SCRIPT_RUN", "SCRIPT_WORKER"
"""Environment variables by which everything that a run has started is found: children inherit them."""

KILL_TIME = 30.0
"""Seconds after which a process that does not die hangs in the kernel."""


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
    """How much the worker gives way to others: 0 to 19."""


class ScriptPlatform(Platform[ScriptPayload, ScriptOptions]):
    name = "script"
    payload = ScriptPayload
    options = ScriptOptions

    def __init__(self, options: ScriptOptions, worker_id: str) -> None:
        self._options, self._worker_id = options, worker_id

    @classmethod
    async def open(cls, options: ScriptOptions, context: PlatformContext) -> Self:
        return cls(options, context.worker_id)

    def check(self, payload: ScriptPayload) -> None:
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
        except OSError as error:
            os.close(reading)
            raise TaskFailedInternally(f"the script cannot be started: {error.strerror}") from None
        finally:
            os.close(writing)
        return ScriptExecution(process, reading, self._context, self._marks[RUN])

    async def discard(self) -> None:
        self._script.unlink(missing_ok=True)

    @property
    def _script(self) -> Path:
        return self._context.folder / ".script"


class ScriptExecution(Execution):
    """The script as it runs. It is over when its first process ends; whatever that left running is killed."""

    def __init__(self, process: asyncio.subprocess.Process, output: int, context: RunContext, mark: str) -> None:
        self._process, self._context, self._mark = process, context, mark
        self._aborted = False
        self._end = asyncio.create_task(self._run_to_end(output))

    async def wait(self) -> Results:
        await asyncio.wait([self._end])  # which does not cancel it when somebody cancels us
        if self._aborted:
            raise Bug("nobody may wait for a script that was aborted")
        return self._end.result()

    async def kill(self) -> Results:
        await kill_all(RUN, self._mark)
        return await self.wait()

    async def abort(self) -> None:
        self._aborted = True
        await kill_all(RUN, self._mark)
        await (await self._end).dispose()

    async def _run_to_end(self, output: int) -> FolderResults:
        copying = asyncio.create_task(self._copy(output))
        status = await self._process.wait()
        await kill_all(RUN, self._mark)
        await copying
        code = status if status >= 0 else 128 - status
        return FolderResults(self._context.folder, self._context.log, code)

    async def _copy(self, output: int) -> None:
        """From the pipe to the log, until the last process that could write is gone."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb"))
        while data := await reader.read(1 << 16):
            await asyncio.to_thread(self._context.log.write, data)  # the disk may be slow
        pipe.close()


async def kill_all(variable: str, value: str) -> list[int]:
    """Kills each process that has this variable, until there is none. Raises TaskFailedInternally."""
    return await asyncio.to_thread(_kill_all, variable, value)


def _kill_all(variable: str, value: str) -> list[int]:
    killed, limit = set(), time.monotonic() + KILL_TIME
    while found := [each for each in psutil.process_iter(["environ"]) if _has(each, variable, value)]:
        if time.monotonic() > limit:
            raise TaskFailedInternally(f"processes cannot be killed: {sorted(each.pid for each in found)}")
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
            killed.add(process.pid)
        time.sleep(0.01)  # a process takes a moment to die, and may have made others meanwhile
    return sorted(killed)


def _has(process: psutil.Process, variable: str, value: str) -> bool:
    return (process.info["environ"] or {}).get(variable) == value
