"""ProcessEngine: prepares a run's folder and starts its command or its steps."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import Bug, Complaint, MalformedPayload, NotSupported, TaskFailedInternally
from taskrunner.files.results import empty_run_folder
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.log import LogStream
from taskrunner.steps.expansion import expand_run_folder
from taskrunner.steps.runner import StepRunner
from taskrunner.steps.specification import StepSpec
from taskrunner.steps.step_files import StepFiles
from taskrunner_process.check_out import check_out
from taskrunner_process.child import Start
from taskrunner_process.command import TEMPORARY, environment
from taskrunner_process.execution import ProcessExecution
from taskrunner_process.launcher import Launcher
from taskrunner_process.main_command import OneCommand
from taskrunner_process.payload import ProcessPayload
from taskrunner_process.step_command import ProcessSteps, make_files

INPUT_TIME = 60.0
"""Seconds to write the payload's text to disk, which has a few megabytes at most."""


class ProcessEngine(Engine[ProcessPayload]):
    """Everything that it makes is in the run's folder."""

    def __init__(self, launcher: Launcher, worker_id: str) -> None:
        self._launcher, self._worker_id = launcher, worker_id
        self._context, self._account = launcher.context, launcher.account
        self._payload: ProcessPayload | None = None
        self._links: list[str] = []

    async def load(self, payload: ProcessPayload) -> None:
        """Prepares the folder, with the files of the task's source."""
        self._payload = payload
        if self._context.task.source:
            await check_out(self._context, self._account)
        try:
            self._make_folder(self._context.folder / TEMPORARY)
            if self._account:
                self._account.take_ownership(self._context.folder)
                self._account.open_path(self._context.folder)
        except OSError as error:
            raise TaskFailedInternally(f"the run's folder could not be made ready: {error}") from None

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        if self._account:
            self._account.take_ownership(folder)

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        """A symbolic link at `target` leads to the cache. A link cannot prevent writing, so `read_only` is refused.

        Raises: MalformedPayload, NotSupported (`read_only`), TaskFailedInternally.
        """
        if read_only:
            raise NotSupported("read-only caches: a process could write to it all the same; use the docker platform")
        place = self._place(target)
        try:
            for parent in reversed(place.relative_to(self._context.folder).parents[:-1]):
                self._make_folder(self._context.folder / parent)
            place.symlink_to(folder.path.absolute(), target_is_directory=True)
            if self._account:
                self._account.take_ownership(folder.path, place)
                self._account.open_path(folder.path)
        except OSError as error:
            raise TaskFailedInternally(f"the cache {folder.name} could not be attached: {error}") from None
        self._links.append(target)

    def _place(self, target: str) -> Path:
        """Where the link goes. Raises MalformedPayload."""
        path = Path(target)
        place = self._context.folder / path
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in target:
            raise self._complaint(target, "does not lie in the run's folder", "give a relative path without `..`")
        if path.parts[0] == TEMPORARY:
            raise self._complaint(target, f"{TEMPORARY} is the folder for temporary files", "take another one")
        if os.path.lexists(place):
            raise self._complaint(target, "something is there already", "give each cache a path of its own")
        if any((self._context.folder / parent).is_symlink() for parent in path.parents):
            raise self._complaint(target, "lies behind a link", "give each cache a path of its own")
        return place

    def _complaint(self, target: str, problem: str, fix: str) -> MalformedPayload:
        paths = [cache.path for cache in self._context.task.caches]
        same = [index for index, path in enumerate(paths) if path == target]
        # Caches are attached in the task's order: of two with the same path, the second is refused.
        index = same[min(self._links.count(target), len(same) - 1)] if same else len(self._links)
        return MalformedPayload(Complaint(f"caches[{index}].path", f"{target!r}: {problem}", fix))

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> ProcessExecution:
        """Raises: MalformedPayload, TaskFailed (`command-not-found`, `not-executable`), TaskFailedInternally."""
        if self._payload is None:
            raise Bug("a run is loaded before it is started")
        folder = self._context.folder
        env = expand_run_folder(env, self._context.task, str(folder))
        complete = environment(self._context.run, self._worker_id, folder, self._account, env)
        launcher = attrs.evolve(self._launcher, env=complete)
        if self._payload.steps:
            return await self._start_steps(launcher, self._payload.steps, env, stdin=stdin)
        command = launcher.find(self._payload.command)
        if stdin:
            reading, writing = os.pipe()
            return await self._launch(launcher, command, reading, writing)
        return await self._launch(launcher, command, await self._input(self._payload.stdin), None)

    async def _input(self, text: str) -> int:
        """The standard input as a file without a name, which needs no writer while the command runs."""
        if not text:
            return os.open(os.devnull, os.O_RDONLY)
        try:
            return await run_blocking(
                partial(self._save, text.encode()),
                limit=INPUT_TIME,
                doing="keeping the input",
                discard=os.close,
                error=TaskFailedInternally,
            )
        except OSError as error:
            raise TaskFailedInternally(f"the standard input could not be kept: {error.strerror}") from None

    def _save(self, text: bytes) -> int:
        with tempfile.TemporaryFile(dir=self._context.folder) as file:
            file.write(text)
            file.seek(0)
            if self._account:
                os.fchown(file.fileno(), self._account.uid, self._account.gid)
            return os.dup(file.fileno())

    async def _launch(
        self, launcher: Launcher, command: list[str], stdin: int, writing_stdin: int | None
    ) -> ProcessExecution:
        outputs, stdout, stderr = open_outputs(separate=self._payload is not None and self._payload.separate_stderr)
        start = Start(command, launcher.env, launcher.context.folder, self._account, stdin, stdout, stderr)
        try:
            child, group = await launcher.launch(start, "")
        except BaseException:
            for number in (*outputs.values(), *([] if writing_stdin is None else [writing_stdin])):
                os.close(number)
            raise
        return ProcessExecution(launcher, OneCommand(launcher, child, group), outputs, writing_stdin)

    async def _start_steps(
        self, launcher: Launcher, steps: Sequence[StepSpec], env: Mapping[str, str], *, stdin: bool
    ) -> ProcessExecution:
        if stdin:
            raise NotSupported("a standard input for a task of several steps")
        try:
            files = await run_blocking(
                partial(make_files, launcher),
                limit=INPUT_TIME,
                doing="making the files of the steps",
                discard=StepFiles.remove,
                error=TaskFailedInternally,
            )
        except OSError as error:
            raise TaskFailedInternally(f"the files of the steps could not be made: {error.strerror}") from None
        outputs, stdout, stderr = open_outputs(separate=self._payload is not None and self._payload.separate_stderr)
        sandbox = ProcessSteps(launcher, self._worker_id, stdout=stdout, stderr=stderr)
        sandbox.runner = StepRunner(steps, sandbox, files, self._context, env)
        return ProcessExecution(launcher, sandbox, outputs, None)

    async def discard(self) -> None:
        await empty_run_folder(self._context.folder)


def open_outputs(*, separate: bool) -> tuple[dict[LogStream, int], int, int]:
    """The worker's ends of the output, by stream, and the stdout and stderr of the command.

    By default these two are one pipe, which keeps the order in which the command writes. Of two pipes, the kernel does
    not say which was written to first: a shell that writes to both in turn has half of its lines out of place.
    """
    reading, stdout = os.pipe()
    if not separate:
        return {"both": reading}, stdout, stdout
    reading_stderr, stderr = os.pipe()
    return {"stdout": reading, "stderr": reading_stderr}, stdout, stderr
