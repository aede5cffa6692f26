"""The installed command in processes of their own, on a home of their own, as a user has it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import attrs
import docker
from docker.errors import APIError

from taskrunner.model import RunKey, TaskStatus
from taskrunner.queues.sqlite.queue import SqliteQueue
from taskrunner.schema.task import submission_of
from taskrunner.state.journal_reader import Record, read_journal
from taskrunner.state.run_folder import RunFolder
from tests.support.command_line import CommandResult
from tests.support.queue_processes import soon
from tests.support.secret_search import files_containing

COMMAND = Path(sys.executable).with_name("taskrunner")
LABEL = "test.taskrunner"
LIMIT = 40.0
"""Seconds until a test fails because an event did not happen; none takes more than three."""

T = TypeVar("T")


class WorkerProcess:
    """`taskrunner run`. A thread reads its lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for_output(self, text: str) -> None:
        """Waits until the output contains this text."""
        with self._news:
            assert self._news.wait_for(lambda: text in self.output or not self._reader.is_alive(), LIMIT), self.output
        assert text in self.output, self.output

    def kill(self) -> None:
        """Kills it with SIGKILL, and waits for its end."""
        self.process.kill()
        self.wait()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Waits until it has ended by itself. Returns the exit status."""
        assert soon(lambda: self.process.poll() is not None, LIMIT), self.output
        self._reader.join(LIMIT)
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        if self.process.stdout:
            self.process.stdout.close()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


@attrs.define(eq=False)
class Site:
    """One home, with its configuration, workers and tasks. `close` removes all that is left of them."""

    folder: Path
    home: Path = attrs.field(init=False)
    token: str = attrs.field(init=False, factory=lambda: "1" + "".join(secrets.choice("0123456789") for _ in range(8)))
    """A unique number: the duration of sleeps, by which processes are found, and a label of images."""
    variables: dict[str, str] = attrs.field(factory=dict)
    """Environment variables of commands, beside the few that each gets."""
    workers: list[WorkerProcess] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.home = self.folder / "home"

    # ---- running ----------------------------------------------------------------------------------------

    def configure(self, text: str) -> None:
        (self.folder / "taskrunner.toml").write_text(text)

    def environment(self) -> dict[str, str]:
        base = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}
        return {**base, "TASKRUNNER_HOME": str(self.home), **self.variables}

    def worker(self, *arguments: str) -> WorkerProcess:
        worker = WorkerProcess(self._start("run", *arguments, stderr=subprocess.STDOUT))
        self.workers.append(worker)
        return worker

    def command(self, *arguments: str, stdin: str = "") -> CommandResult:
        """Runs any command to its end."""
        process = self._start(*arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        with process:
            try:
                out, err = process.communicate(stdin, LIMIT)
            finally:
                process.kill()
        return CommandResult(process.returncode, out.encode(), err.encode())

    def run(self, document: Mapping[str, Any]) -> CommandResult:
        """Runs `taskrunner run --task` with the task on its standard input."""
        return self.command("run", "--task", "-", stdin=json.dumps(document))

    def _start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **more,
        )

    def run_worker(self, *arguments: str) -> WorkerProcess:
        """Runs a worker until the queue is empty."""
        worker = self.worker("--until-empty", *arguments)
        assert worker.wait() == 0, worker.output
        return worker

    # ---- tasks ------------------------------------------------------------------------------------------

    def process(self, script: str, **more: Any) -> dict[str, Any]:
        """A task that runs a shell script."""
        return {"id": f"t{self.token}", "platform": "process", "command": ["sh", "-c", script], **more}

    def build(self, url: str, *, build: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """A task that builds an image."""
        spec = {"labels": {LABEL: self.token}, **(build or {})}
        source = {"repository": url, "ref": "main"}
        return {"id": f"t{self.token}", "platform": "docker", "source": source, "build": spec, **more}

    def submit(self, document: Mapping[str, Any]) -> str:
        submission = submission_of(document)
        self._query(lambda queue: queue.submit(submission))
        return submission.task_id

    def cancel(self, task_id: str) -> None:
        self._query(lambda queue: queue.cancel(task_id))

    def status(self, task_id: str) -> TaskStatus:
        return self._query(lambda queue: queue.status(task_id))

    def resolutions(self, task_id: str) -> list[str]:
        """The resolution of each run."""
        return [str(run.resolution) for run in self.status(task_id).runs]

    def _query(self, call: Callable[[SqliteQueue], Any]) -> Any:
        async def calling() -> Any:
            given = self.variables.get("TASKRUNNER_QUEUE", "").removeprefix("sqlite://")
            queue = SqliteQueue(Path(given or self.home / "queue.db"), "")
            try:
                return await call(queue)
            finally:
                await queue.close()

        return asyncio.run(calling())

    # ---- what is written about a run --------------------------------------------------------------------

    def run_folder(self, task_id: str, run_id: int = 0) -> RunFolder:
        return RunFolder(self.home, RunKey(task_id, run_id))

    def records(self, task_id: str, run_id: int = 0) -> list[Record]:
        return read_journal(self.run_folder(task_id, run_id).journal)

    def states(self, task_id: str, run_id: int = 0) -> list[str]:
        return [record.state for record in self.records(task_id, run_id) if record.kind == "moved"]

    def wait_for_state(self, task_id: str, state: str, run_id: int = 0) -> None:
        """Waits until the journal of a run has this state."""
        assert soon(lambda: state in self.states(task_id, run_id), LIMIT), self.states(task_id, run_id)

    def log(self, task_id: str, run_id: int = 0) -> str:
        try:
            return self.run_folder(task_id, run_id).log.read_text()
        except FileNotFoundError:
            return ""

    def wait_for_log(self, task_id: str, text: str, run_id: int = 0) -> None:
        """Waits until the log of a run contains this text."""
        happened = soon(lambda: text in self.log(task_id, run_id), LIMIT)
        assert happened, (self.log(task_id, run_id), self.states(task_id, run_id), self.processes())

    # ---- what is left -----------------------------------------------------------------------------------

    def processes(self) -> dict[int, str]:
        """Those with the token in their command line or a working folder in the home, also in containers."""
        return {pid: line for pid, line, folder in _processes() if self.token in line or self._is_in_home(folder)}

    def sleeps(self) -> bool:
        """Whether a process sleeps for the token, also in a container."""
        return any(line.split() == ["sleep", self.token] for line in self.processes().values())

    def wait_for_sleep(self) -> None:
        """Waits until a process sleeps for the token, also in a container."""
        assert soon(self.sleeps, LIMIT), self.processes()

    def end_sleeps(self) -> None:
        """Ends the processes that sleep for the token, as their own end would."""
        for pid, line in self.processes().items():
            if line.split() == ["sleep", self.token]:
                os.kill(pid, signal.SIGKILL)

    def leftovers(self) -> list[str]:
        """Everything that must not exist when nothing runs."""
        return [
            *(f"folder {path}" for path in self.home.glob("runs/*/*/work")),
            *(f"process {pid}: {line}" for pid, line in self.processes().items()),
            *(f"lock {path}" for path in self.home.glob("workers/*")),
            *(f"push note {path}" for path in self.home.glob("docker/pushing/*/*")),
            *(f"file {path}" for path in self.home.rglob("tmp_*")),
            *self._leftovers_in_docker(),
        ]

    def _leftovers_in_docker(self) -> list[str]:
        with closing(docker.from_env(timeout=LIMIT)) as client:
            mine = {"label": f"taskrunner.home={self.home}"}
            containers = [
                f"container {found.name}"
                for found in client.containers.list(all=True, filters=mine, ignore_removed=True)
            ]
            return [
                *containers,
                *(f"network {found.name}" for found in client.networks.list(filters=mine)),
                *(f"volume {found.name}" for found in client.volumes.list(filters=mine)),
                *(f"image {found.id} {found.tags}" for found in self.images(client)),
            ]

    def images(self, client: docker.DockerClient) -> Iterator[Any]:
        """The images of this site, with or without a name."""
        yield from client.images.list(all=True, filters={"label": f"{LABEL}={self.token}"})

    def files_containing(self, text: str) -> list[str]:
        """The files of this home that contain a text."""
        return files_containing(self.home, text)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with closing(docker.from_env(timeout=LIMIT)) as client:
            here = {"label": f"taskrunner.home={self.home}"}
            for container in client.containers.list(all=True, filters=here, ignore_removed=True):
                container.remove(force=True, v=True)
            for image in self.images(client):
                with suppress(APIError):
                    client.images.remove(image.id, force=True)

    def _is_in_home(self, folder: str) -> bool:
        return folder == str(self.home) or folder.startswith(f"{self.home}/")


def _processes() -> Iterator[tuple[int, str, str]]:
    """The number, the command line and the working folder of each process of this machine."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield int(entry.name), line, str((entry / "cwd").readlink())
