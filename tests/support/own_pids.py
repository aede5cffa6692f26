"""Programs in a PID namespace of their own, where a test decides which number the next process gets.

Needs root. The kernel gives out numbers in order; `ns_last_pid` says after which one it goes on.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

TRIES = 1000
"""A thread takes a number too, and may take the one that a test wants."""
LIMIT = 100.0
"""Seconds for one program, reached only when it hangs."""

_LAST = Path("/proc/sys/kernel/ns_last_pid")
_ROOT = Path(__file__).resolve().parents[2]


def run_in_own_pids(code: str, *arguments: str | Path) -> str:
    """What a Python program prints, which must exit with 0. Everything that it started ends with it. Orphans are
    reaped, as by the init of a machine: a zombie keeps its number, and that of its session."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    ended = subprocess.run(
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "tini", "--", *command],
        cwd=_ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def stranger_with(pid: int) -> subprocess.Popen[bytes]:
    """A process that has nothing to do with a run, leads its session, and has this number, if it is free. Otherwise
    the number is the next free one."""
    for _ in range(TRIES):
        _LAST.write_text(str(pid - 1))
        stranger = subprocess.Popen(["sleep", "infinity"], start_new_session=True, env={"PATH": "/usr/bin:/bin"})
        if stranger.pid == pid or is_taken(pid):
            return stranger
        stranger.kill()
        stranger.wait()
    raise RuntimeError(f"number {pid} is free, and no process gets it")


def is_taken(pid: int) -> bool:
    """Whether a process has this number, a zombie included."""
    return Path(f"/proc/{pid}").exists()
