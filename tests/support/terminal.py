"""A program at a terminal, with the test in place of the person."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LIMIT = 60.0
"""Seconds until a program counts as hung."""


class Terminal:
    """The controlling terminal of one program."""

    def __init__(self, screen: int, process: subprocess.Popen[bytes]) -> None:
        self._screen, self.process = screen, process
        self.settings = termios.tcgetattr(screen)
        """As they were before the program."""
        self.seen = b""

    def type(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, text: bytes) -> bytes:
        """What was printed up to this text, which is then over."""
        end = time.monotonic() + LIMIT
        while text not in self.seen:
            ready, _, _ = select.select([self._screen], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{text!r} did not come: {self.seen!r}"
            self.seen += os.read(self._screen, 1 << 16)
        before, _, self.seen = self.seen.partition(text)
        return before

    def end(self) -> int:
        """Waits for the end. Returns the exit status."""
        return self.process.wait(LIMIT)

    @property
    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._screen) == self.settings


@contextmanager
def at_terminal(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], rows: int = 24, columns: int = 80
) -> Iterator[Terminal]:
    """Starts a program at a terminal of its own, and kills it at the end of the block. Keys such as Ctrl-C reach it,
    also when the tests run in the background of a script or by `nohup`, where whatever begins ignores signals."""
    screen, device = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    setsid = shutil.which("setsid")
    assert setsid
    try:
        with subprocess.Popen(
            ["env", "--default-signal", setsid, "--ctty", *command],
            stdin=device,
            stdout=device,
            stderr=device,
            cwd=cwd,
            env={**env},
        ) as process:
            try:
                yield Terminal(screen, process)
            finally:
                process.kill()
    finally:
        os.close(device)
        os.close(screen)
