"""Real processes that are killed in the middle of their work."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

SIGKILLED = -9


def run_until_ready_and_kill(code: str, *arguments: str | Path) -> list[str]:
    """Runs a Python program until it has printed `ready`, then kills it with SIGKILL. Returns the lines before that."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            if line == "ready\n":
                process.kill()
                break
            lines.append(line.rstrip("\n"))
    assert process.returncode == SIGKILLED, lines
    return lines
