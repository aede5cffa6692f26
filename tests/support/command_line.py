"""The installed command in processes of their own, on a home of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TASKRUNNER = str(Path(sys.executable).with_name("taskrunner"))

LIMIT = 120.0
"""Seconds until a command counts as hung."""


class CommandLine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TASKRUNNER_")},
            "TASKRUNNER_HOME": str(folder / "home"),
            "XDG_CONFIG_HOME": str(folder / "no-config"),
        }

    def __call__(self, *arguments: str, stdin: str | bytes = b"") -> CommandResult:
        """Runs a verb to its end."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        process = subprocess.run(
            [TASKRUNNER, *arguments],
            check=False, input=data, capture_output=True, cwd=self.folder, env=self.env, timeout=LIMIT,
        )  # fmt: skip
        return CommandResult(process.returncode, process.stdout, process.stderr)

    def closed(self, stream: str, *arguments: str) -> CommandResult:
        """Runs a verb that is started without one of its streams, given by its number."""
        return self._in_shell(f'exec "$0" "$@" {stream}>&-', *arguments)

    def to_full_disk(self, *arguments: str) -> CommandResult:
        """Runs a verb whose stdout is a file on a full disk."""
        return self._in_shell('exec "$0" "$@" >/dev/full', *arguments)

    def as_one_stream(self, *arguments: str) -> CommandResult:
        """Runs a verb whose stdout and stderr are one pipe."""
        return self._in_shell('exec "$0" "$@" 2>&1', *arguments)

    def _in_shell(self, script: str, *arguments: str) -> CommandResult:
        shell = ["sh", "-c", script, TASKRUNNER, *arguments]
        process = subprocess.run(shell, check=False, capture_output=True, cwd=self.folder, env=self.env, timeout=LIMIT)
        return CommandResult(process.returncode, process.stdout, process.stderr)

    @contextmanager
    def start(self, *arguments: str) -> Iterator[RunningCommand]:
        """Runs a verb beside the test, and kills it at the end."""
        with subprocess.Popen(
            [TASKRUNNER, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder, env=self.env, text=True,
        ) as process:  # fmt: skip
            timer = threading.Timer(LIMIT, process.kill)
            timer.start()
            try:
                yield RunningCommand(process)
            finally:
                timer.cancel()
                process.kill()

    @contextmanager
    def worker(self, *arguments: str) -> Iterator[RunningCommand]:
        """Runs a worker beside the test, and drains it at the end."""
        with self.start("run", *arguments) as worker:
            yield worker
            self("drain", "--now")
            assert worker.end() == 0

    def until_logged(self, task_id: str, text: str) -> None:
        """Returns when this is in the log of the first run. The limit is that of the test."""
        while text not in self.run_log(task_id).read_text():
            self("status")

    def run_log(self, task_id: str, name: str = "log") -> Path:
        """The log of the first run, or another file of that run."""
        return self.folder / "home" / "runs" / task_id / "0" / name

    def task(self, task_id: str, script: str, extra: str = "") -> str:
        """Writes a task that runs a shell script, and returns the path of its file."""
        path = self.folder / f"{task_id}.toml"
        command = json.dumps(["sh", "-c", script])
        path.write_text(f'id = "{task_id}"\nplatform = "process"\ncommand = {command}\n{extra}\n')
        return str(path)

    def show(self, task_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self("show", task_id, "--json").out)
        return shown

    def gate(self, name: str = "gate") -> Path:
        """A named pipe, whose reader waits for `open_gate`."""
        path = self.folder / name
        os.mkfifo(path)
        return path


class CommandResult:
    """A command that has ended, without a traceback."""

    def __init__(self, status: int, out: bytes, err: bytes) -> None:
        self.status = status
        self.raw = out
        self.out, self.err = out.decode(errors="replace"), err.decode()
        assert "Traceback" not in self.err, self.err

    @property
    def everything(self) -> str:
        return self.out + self.err

    def __repr__(self) -> str:
        return f"exit status {self.status}\n{self.everything}"


class RunningCommand:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, text: str, *, stream: str = "stderr") -> str:
        """Reads lines until one contains this text, and returns it."""
        for line in getattr(self.process, stream):
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return self.lines[-1]
        raise AssertionError(f"{text!r} did not come:\n" + "\n".join(self.lines))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Waits for the end. Returns the exit status; `lines` then has all that was printed."""
        out, err = self.process.communicate(timeout=LIMIT)
        self.lines += [*out.splitlines(), *err.splitlines()]
        assert "Traceback" not in "\n".join(self.lines)
        return self.process.returncode


def open_gate(gate: Path) -> None:
    gate.write_text("go\n")
