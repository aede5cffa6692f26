"""All benchmarks, one after the other, and a table of which met their targets.

    python bench/run.py [NAME...]

Each is a program of its own: it prints what it measured, and exits with 1 when a target is missed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = {
    "start": "imports, memory and processor time of a worker that waits",
    "process": "tasks that run `true`, against a bare spawn",
    "claims": "claims and resolutions of one worker, against the same transactions without an event loop",
    "fetch": "a fetch into a mirror, against a shallow clone",
    "agent": "calls and logs of an agent, against a bare gRPC server",
    "container": "containers that run `true`, against `docker run --rm`",
    "launcher": "a dispatch to a worker, against a bare WebSocket server, and launchers that are refused",
    "artifacts": "a folder of a container into a store, against `docker cp`",
    "output": "output of a container through masking and spool, against `docker run` to /dev/null",
    "context": "builds again with a large context, against `docker build`",
    "build": "clone, build and push, against a script and `docker build URL#ref`",
}
"""By module: the subject."""

OUTCOMES = {0: "met", 1: "MISSED"}


def main() -> int:
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    outcomes = {name: _run(name) for name in names}
    print(f"\n== targets, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, status in outcomes.items():
        print(f"  {name:8} {OUTCOMES.get(status, f'broken ({status})'):10} {BENCHMARKS[name]}")
    return int(any(outcomes.values()))


def _run(name: str) -> int:
    print(f"\n== {name}: {BENCHMARKS[name]}", flush=True)
    return subprocess.run([sys.executable, Path(__file__).with_name(f"{name}.py")], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
