"""The steps of a task in one container: each is a further command in it.

The container itself runs a shell that waits for an input which never comes, so that what a step leaves running lives on
until the end of the run, and files stay.
"""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from taskrunner.errors import TaskFailedInternally, TaskrunnerError
from taskrunner.steps.runner import StepRunner
from taskrunner.steps.sandbox import RunningStep, StepCommand, StepSandbox
from taskrunner.steps.step_files import NAMES, StepFiles
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.container.configuration.mounts import bind
from taskrunner_docker.container.exec import ContainerExec

KEEP_ALIVE = ["sh"]
"""What the container runs meanwhile: every image with scripts has it."""
STEP_FOLDER = "/.taskrunner"
"""Where the files of the steps are mounted, also in a container with a read-only root. No image has this folder."""
FOR_ANY_USER = 0o666
"""The image may have any user. On this machine the files are in the run's folder, which is closed to others."""


def make_files(folder: Path) -> StepFiles:
    """Blocks. Raises OSError."""
    return StepFiles.make(folder / "steps", mode=FOR_ANY_USER)


def mounts(files: StepFiles) -> list[dict[str, Any]]:
    """Each file by itself, so that a step can write to it, and neither remove nor replace it."""
    return [bind(files.path(name), f"{STEP_FOLDER}/{name}") for name in NAMES]


class ContainerSteps(StepSandbox):
    """Starts the steps in a container that runs."""

    step_folder = STEP_FOLDER

    def __init__(self, client: DockerClient, container: str, working_dir: str) -> None:
        self._client, self._container = client, container
        self.run_folder = working_dir
        self.runner: StepRunner
        self.write: Callable[[list[tuple[int, bytes]]], Awaitable[None]]
        """Appends output to the log of the run, each piece with the number of its stream."""
        self._lost: TaskrunnerError | None = None
        self._in_line: set[int] = set()
        """The streams whose last line has no end yet."""

    async def run(self) -> None:
        """Raises what `StepRunner.run` raises, and TaskFailedInternally when the log cannot be written."""
        await self.runner.run()
        if self._lost:
            raise self._lost

    async def start(self, step: StepCommand) -> RunningStep:
        self._in_line.clear()
        exec_ = await ContainerExec.begin(
            self._client,
            self._container,
            step.command,
            env=step.env,
            working_dir=posixpath.join(self.run_folder, step.working_dir),
            sink=self._log,
        )
        return ContainerStep(self, exec_)

    async def _log(self, number: int, piece: bytes) -> None:
        """A run without its log is useless: it ends now."""
        if self._lost:
            return
        try:
            await self.write([(number, piece)])
        except TaskFailedInternally as error:
            self._lost = error
            self.runner.stop()
        (self._in_line.discard if piece.endswith(b"\n") else self._in_line.add)(number)

    async def end_lines(self) -> None:
        """Ends the last line of each stream, so that the worker's own line begins a new one."""
        for number in sorted(self._in_line):
            await self._log(number, b"\n")


class ContainerStep(RunningStep):
    """A step that runs."""

    def __init__(self, steps: ContainerSteps, exec_: ContainerExec) -> None:
        self._steps, self._exec = steps, exec_

    async def wait(self) -> int:
        status = await self._exec.wait()
        await self._steps.end_lines()
        return status

    async def abort(self) -> None:
        await self._exec.abort()
        await self._steps.end_lines()
