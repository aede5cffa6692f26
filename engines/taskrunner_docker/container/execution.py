"""A container that runs, and its results."""

from __future__ import annotations

import asyncio
import json
import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.errors import Bug, NotSupported, RunLost, TaskFailedInternally, Unavailable
from taskrunner.interfaces.execution import NO_VARIABLES, Exec, Execution, Input, Size
from taskrunner.interfaces.platform import RunContext
from taskrunner.interfaces.results import Entry, Results
from taskrunner.steps.runner import StepRunner
from taskrunner_docker.api.async_stream import BUFFER, Stream
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.api.frames import STDERR, Demultiplexer, joined
from taskrunner_docker.container.archive import ContainerFiles
from taskrunner_docker.container.attachments.run_pod import RunPod
from taskrunner_docker.container.disk import OUT_OF_DISK, out_of_disk
from taskrunner_docker.container.exec import ContainerExec
from taskrunner_docker.container.memory import out_of_memory
from taskrunner_docker.container.pipes import StreamInput
from taskrunner_docker.container.step_sandbox import ContainerSteps

_OUTPUT_TIMEOUT = 30.0
"""Seconds for the rest of the output after the end of the container, which closes it."""
_BATCH_INTERVAL = 0.002
"""Seconds between two pieces of output, so that a flood comes in few large ones: each costs a trip to a thread."""
LOG_LIMIT = 60.0
"""Seconds for a piece of output to reach the spool, and for a cancelled write: after `abort` nothing is written."""
_LOST_LIMIT = 10.0
"""Seconds to kill the container of a lost run, which is handed back after that."""
_KILL_TIMEOUT = 60.0
"""Seconds for a killed container to end: the kernel may be writing out its files."""
_KILLED = 137
"""The exit code of a container that was killed."""
_NOT_RUN = frozenset({126, 127})
"""Exit codes of shells, and of a container's init process, for a program that cannot be run or is not there."""
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT})
"""Docker's statuses for a container that does not run, or is not there."""


class ContainerExecution(Execution):
    """One started container. Two tasks watch it: one moves its output to the log, one waits for its end."""

    def __init__(
        self,
        client: DockerClient,
        context: RunContext,
        container: str,
        working_dir: str,
        *,
        pod: RunPod,
        output: Stream,
        ending: Stream,
        stdin: bool = False,
        steps: ContainerSteps | None = None,
    ) -> None:
        self._client, self._context, self._container = client, context, container
        self._files = ContainerFiles(client, container, working_dir, context.log)
        self._pod, self._output, self._ending = pod, output, ending
        self._aborted = False
        self._input = StreamInput(output) if stdin else None
        self._steps = steps
        if steps:
            steps.write = self._write
        self._watching = asyncio.create_task(self._watch())

    @property
    def stdin(self) -> Input:
        if self._input is None:
            raise NotSupported("this container was started without a standard input")
        return self._input

    async def new_exec(
        self, command: Sequence[str], *, tty: Size | None = None, env: Mapping[str, str] = NO_VARIABLES, cwd: str = ""
    ) -> Exec:
        folder = posixpath.join(self._files.working_dir, cwd) if cwd else None
        return await ContainerExec.begin(self._client, self._container, command, tty=tty, env=env, working_dir=folder)

    async def wait(self) -> Results:
        await asyncio.wait({self._watching})
        if self._aborted:
            raise Bug("a container that was aborted has no results")
        return self._watching.result()

    async def kill(self) -> Results:
        self._stop_steps()
        try:
            await self._kill()
            async with asyncio.timeout(_KILL_TIMEOUT):
                return await self.wait()
        except Unavailable as error:
            raise TaskFailedInternally(str(error)) from error
        except TimeoutError:
            raise TaskFailedInternally(
                f"the container {self._container[:12]} was killed and does not end within {_KILL_TIMEOUT:.0f} s"
            ) from None

    async def abort(self) -> None:
        self._aborted = True
        self._stop_steps()
        self._watching.cancel()
        await asyncio.wait({self._watching})
        self._close_streams()  # a watch that was cancelled before its first step has closed nothing
        await self._pod.dispose(self._container)
        if self._steps:
            await self._steps.runner.remove_files()

    def _close_streams(self) -> None:
        self._output.close()
        self._ending.close()

    async def _kill(self, limit: float | None = None) -> None:
        kill = partial(self._client.api.kill, self._container)
        try:
            await (self._client.call_within(limit, kill) if limit else self._client.call(kill))
        except DockerError as error:
            if error.status not in _GONE:
                raise TaskFailedInternally(f"the container cannot be killed: {error}") from None

    # ---- watching ---------------------------------------------------------------------------------------

    async def _watch(self) -> Results:
        drain, end = asyncio.create_task(self._drain()), asyncio.create_task(self._wait_for_exit())
        steps = asyncio.create_task(self._run_steps())
        end.add_done_callback(lambda _: self._stop_steps())
        try:
            await asyncio.wait({drain, end, steps}, return_when=asyncio.FIRST_EXCEPTION)
            for task in (drain, end, steps):
                if task.done():
                    task.result()
            await self._pod.end()
            return await self._results(end.result())
        except Unavailable as error:  # only Docker itself is asked here
            await self._end_lost()
            raise RunLost(error.message) from error
        finally:
            self._close_streams()
            for task in (drain, end):
                task.cancel()
            self._stop_steps()
            await asyncio.gather(drain, end, steps, return_exceptions=True)

    async def _end_lost(self) -> None:
        """The task is run again at once, maybe here: if Docker answers, the container is dead before that."""
        with suppress(Unavailable, TaskFailedInternally):
            await self._kill(_LOST_LIMIT)
            await self._pod.end()

    async def _results(self, exit_code: int) -> Results:
        if self._steps:
            return await self._results_of_steps(self._steps.runner, exit_code)
        reason, message = await self._explain(exit_code)
        return ContainerResults(self._files, self._pod, exit_code=exit_code, reason=reason, message=message)

    async def _results_of_steps(self, runner: StepRunner, exit_code: int) -> Results:
        """`exit_code` is that of the container, which the worker kills after the last step."""
        sequence = runner.sequence
        reason, message = sequence.reason, sequence.message
        if sequence.exit_code and exit_code in _NOT_RUN:
            reason, message = "start-failed", "steps need a shell, and there is no `sh` in the image"
        elif sequence.exit_code and exit_code != _KILLED:
            reason, message = "container-ended", f"the container ended by itself with exit code {exit_code}; {message}"
        elif sequence.exit_code:
            over, story = await self._limit_story()
            reason, message = over or reason, "; ".join(filter(None, (message, story)))
        results = ContainerResults(
            self._files,
            self._pod,
            exit_code=sequence.exit_code,
            reason=reason,
            message=message,
            release=runner.remove_files,
        )
        results.details = runner.details
        return results

    async def _run_steps(self) -> None:
        """Runs the steps, if there are any, and ends the container after them."""
        if self._steps:
            await self._steps.run()
            await self._kill()

    def _stop_steps(self) -> None:
        if self._steps:
            self._steps.runner.stop()

    async def _drain(self) -> None:
        """Moves the output to the log, in a thread: a disk may be slow, and many runs share the event loop."""
        demultiplexer = Demultiplexer()
        while data := await self._read(self._output, BUFFER):
            if pieces := list(joined(demultiplexer.feed(data))):
                await self._write(pieces)
                await asyncio.sleep(_BATCH_INTERVAL)
        self._output.close()

    async def _write(self, pieces: list[tuple[int, bytes]]) -> None:
        write = partial(self._write_each, pieces)
        try:
            await run_blocking(write, limit=LOG_LIMIT, doing="writing to the log", grace=LOG_LIMIT)
        except OverLimit as error:
            raise TaskFailedInternally(str(error)) from None

    def _write_each(self, pieces: list[tuple[int, bytes]]) -> None:
        for number, piece in pieces:
            self._context.log.write(piece, "stderr" if number == STDERR else "stdout")

    async def _wait_for_exit(self) -> int:
        answer = await self._read(self._ending)
        try:
            status = int(json.loads(answer)["StatusCode"])
        except (ValueError, KeyError):
            raise self._lost("did Docker restart?") from None
        asyncio.get_running_loop().call_later(_OUTPUT_TIMEOUT, self._output.close)
        return status

    async def _read(self, stream: Stream, size: int = -1) -> bytes:
        try:
            return await stream.reader.read(size)
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, why: object) -> Unavailable:
        return Unavailable(f"lost the connection to the container {self._container[:12]}: {why}")

    async def _explain(self, exit_code: int) -> tuple[str, str]:
        """Reason and message, where the exit code alone explains too little."""
        reason, story = await self._limit_story() if exit_code else ("", "")
        if reason:
            return reason, story
        if exit_code in _NOT_RUN:
            return "", f"exit code {exit_code}: a program is not in the image, or cannot be run there; the log names it"
        return "", ""

    async def _limit_story(self) -> tuple[str, str]:
        """Reason and message, when the container has reached one of its limits."""
        if story := await self._memory_story():
            return "out-of-memory", story
        if story := await out_of_disk(self._client, self._container):
            return OUT_OF_DISK, story
        return "", ""

    async def _memory_story(self) -> str:
        """Of the container itself, and of the services."""
        own = await out_of_memory(self._client, self._container)
        return "; ".join(filter(None, (own, *self._pod.memory_stories)))


class ContainerResults(Results):
    """An ended container, whose files are still there."""

    def __init__(
        self,
        files: ContainerFiles,
        pod: RunPod,
        *,
        exit_code: int,
        reason: str,
        message: str,
        release: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`release` is called when the container is gone: until then Docker needs what is mounted, to read files."""
        self._files, self._pod, self._release = files, pod, release
        self.exit_code, self.reason, self.message = exit_code, reason, message

    async def archive_file(self, path: str) -> Entry:
        return await self._files.file(path)

    def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        return self._files.folder(path)

    async def archive(self, path: str = ".") -> Entry:
        return await self._files.archive(path)

    async def dispose(self) -> None:
        await self._pod.dispose(self._files.container)
        if self._release:
            await self._release()
