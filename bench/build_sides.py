"""The ways from a repository to a pushed image: the script, one task, and a worker that runs already."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Protocol, Self

import attrs
import psutil

from taskrunner.model import RunKey
from taskrunner.queues.sqlite.queue import SqliteQueue
from taskrunner.schema.task import submission_of
from taskrunner.state.journal_reader import FINAL, Record, read_journal, state_visits
from taskrunner.state.run_folder import RunFolder

DOCKER = "/usr/bin/docker"
"""Debian's, whose `docker build` uses BuildKit; newer ones need a plugin for it."""
TASKRUNNER = Path(sys.executable).with_name("taskrunner")
LIMIT = 300.0
"""Seconds for one clone, build and push: only a broken side takes as long."""
POLL_INTERVAL = 0.02
"""Seconds between two polls of a process or a task."""
_STEP = re.compile(r"^#(\d+) (\[[^\]]*\] (?:COPY|RUN)|exporting to image)", re.MULTILINE)
_DONE = re.compile(r"^#(\d+) DONE ([\d.]+)s$", re.MULTILINE)
PHASES = {"loading": "fetch", "running": "build", "uploading": "push", "cleanup": "cleanup"}


@attrs.frozen
class Measured:
    """One clone, build and push."""

    seconds: float
    phases: dict[str, float]
    peak: int = 0
    """Bytes: the peak memory of our process."""
    cpu: float = 0.0
    """Seconds of the processor that our process took, in all its threads."""


class Side(Protocol):
    def measure(self, url: str, tag: str) -> Measured: ...


@attrs.define
class ScriptSide:
    """`git clone --depth=1 && docker build && docker push`, in a new folder each time.

    The folders stay until the end: ext4 makes new files slowly for minutes after many were removed.
    """

    folder: Path
    name: str = "clone"
    _number: int = 0

    def measure(self, url: str, tag: str) -> Measured:
        fetch = self._fetch(url)
        os.sync()
        took, _ = _timed(fetch)
        phases = _build_and_push(fetch[-1], tag)
        return Measured(took + sum(phases.values()), {"fetch": took, **phases})

    def _fetch(self, url: str) -> list[str]:
        self._number += 1
        return ["git", "clone", "--quiet", "--depth=1", url, str(self.folder / f"{self.name}-{self._number}")]


@attrs.define
class FloorSide(ScriptSide):
    """The script without its clone, which is there before: what Docker takes for the files, the image and the push."""

    name: str = "floor"

    def measure(self, url: str, tag: str) -> Measured:
        fetch = self._fetch(url)
        _timed(fetch)
        os.sync()
        phases = _build_and_push(fetch[-1], tag)
        return Measured(sum(phases.values()), phases)


@attrs.define
class UrlSide:
    """`docker build URL#main && docker push`: the daemon fetches by itself."""

    def measure(self, url: str, tag: str) -> Measured:
        os.sync()
        phases = _build_and_push(f"{url}#main", tag)
        return Measured(sum(phases.values()), phases)


@attrs.define
class OneTaskSide:
    """`taskrunner run --task`: from the start of the process to its end."""

    home: Path
    _number: int = 0

    def measure(self, url: str, tag: str) -> Measured:
        self._number += 1
        task = f"one-{self._number}"
        os.sync()
        began = time.monotonic()
        with (
            start(self.home, "run", "--task", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
            Peak(process.pid) as peak,
        ):
            output, _ = process.communicate(json.dumps(_document(task, url, tag)), LIMIT)
        seconds = time.monotonic() - began
        if process.returncode:
            raise RuntimeError(output)
        phases = _phases(self.home, task)
        return Measured(seconds, {**phases, "process": seconds - sum(phases.values())}, peak.most, peak.cpu)


@attrs.define
class WorkerSide:
    """A worker that waits for tasks: from a task's submission until its resolution."""

    home: Path
    _pid: int
    _number: int = 0

    def measure(self, url: str, tag: str) -> Measured:
        self._number += 1
        task = f"warm-{self._number}"
        os.sync()
        before = _cpu(self._pid)
        seconds = asyncio.run(self._resolved(_document(task, url, tag)))
        return Measured(seconds, _phases(self.home, task), _peak(self._pid), _cpu(self._pid) - before)

    async def _resolved(self, document: dict[str, Any]) -> float:
        queue = SqliteQueue(self.home / "queue.db", "")
        submission = submission_of(document)
        try:
            began = time.monotonic()
            await queue.submit(submission)
            while (status := await queue.status(submission.task_id)).state != "resolved":  # noqa: ASYNC110  another process resolves it
                await asyncio.sleep(POLL_INTERVAL)
            seconds = time.monotonic() - began
        finally:
            await queue.close()
        if status.resolution is None or status.resolution.kind != "completed":
            raise RuntimeError(str(status.resolution))
        await self._wait_for_cleanup(submission.task_id)
        return seconds

    async def _wait_for_cleanup(self, task: str) -> None:
        """A run's clean-up must not fall into the next measurement."""
        while not any(record.state == FINAL for record in _journal(self.home, task)):  # noqa: ASYNC110  as above
            await asyncio.sleep(POLL_INTERVAL)


class Peak:
    """The peak memory of a process and its processor time, which can be read only while it lives."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        """Bytes."""
        self.cpu = 0.0
        """Seconds."""
        self._pid, self._stopped = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_INTERVAL):
            self.most = max(self.most, _peak(self._pid))
            self.cpu = max(self.cpu, _cpu(self._pid))


def start(
    home: Path, *arguments: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
) -> subprocess.Popen[str]:
    """The installed command, with a home of its own."""
    return subprocess.Popen(
        [TASKRUNNER, *arguments],
        cwd=home,
        env={**os.environ, "TASKRUNNER_HOME": str(home)},
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _document(task: str, url: str, tag: str) -> dict[str, Any]:
    source = {"repository": url, "ref": "main"}
    return {"id": task, "platform": "docker", "source": source, "build": {"tags": [tag], "push": True}}


def _build_and_push(context: str, tag: str) -> dict[str, float]:
    """The seconds of each phase."""
    build, stderr = _timed([DOCKER, "build", "--progress=plain", "--tag", tag, context])
    push, _ = _timed([DOCKER, "push", "--quiet", tag])
    return _split({"build": build, "push": push}, stderr)


def _timed(command: list[str]) -> tuple[float, str]:
    began = time.monotonic()
    env = {**os.environ, "DOCKER_BUILDKIT": "1"}
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=LIMIT)
    return time.monotonic() - began, done.stderr


def _journal(home: Path, task: str) -> list[Record]:
    return read_journal(RunFolder(home, RunKey(task, 0)).journal)


def _phases(home: Path, task: str) -> dict[str, float]:
    steps = state_visits(_journal(home, task))
    took = {PHASES[step.state]: step.took or 0.0 for step in steps if step.state in PHASES}
    return _split(took, RunFolder(home, RunKey(task, 0)).log.read_text())


def _split(took: dict[str, float], log: str) -> dict[str, float]:
    """Splits a build: Docker's work on the steps and the image, and the time before it, mostly for the context."""
    names = dict(_STEP.findall(log))
    done = dict(_DONE.findall(log))
    steps = sum(float(done.get(number, 0)) for number in names)
    parts = {"context": took["build"] - steps, "docker": steps}
    return {part: value for name in took for part, value in (parts if name == "build" else {name: took[name]}).items()}


def _peak(pid: int) -> int:
    """Bytes; 0 of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), 0)


def _cpu(pid: int) -> float:
    """Seconds; 0 of a process that has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system
