"""The cost of a start, and of an idle worker.

    python bench/start.py

`taskrunner --help` may import click alone, `taskrunner run` must reach its first claim without the heavy libraries, and
a worker that waits for work must be small and quiet. Exits with 1 when a target is missed. Reads /proc, so Linux only.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TASKRUNNER = Path(sys.executable).with_name("taskrunner")

STARTS = 10
HEAVY = ("docker", "boto3", "botocore", "dulwich", "h2", "psutil", "rich", "nats")
"""Libraries that only some tasks or queues need."""
LIBRARIES = ("attr", "cattrs", "statemachine", *HEAVY)
"""Libraries that `--help` must not import: all but click."""

SETTLE = 3.0
"""Seconds until a worker that was just started counts as idle."""
PERIOD = 20.0
"""Seconds for which it is then measured."""
MAX_MEMORY = 60 << 20
"""Bytes, resident."""
MAX_CPU = 0.005
"""As a part of one core."""
START_LIMIT = 60.0
"""Seconds: only a broken one takes as long."""

TICKS = os.sysconf("SC_CLK_TCK")


def imported(*arguments: str, home: str) -> set[str]:
    """The top-level modules that a call of `taskrunner` imports."""
    lines = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "taskrunner", *arguments],
        env=os.environ | {"TASKRUNNER_HOME": home},
        capture_output=True,
        text=True,
        check=True,
        timeout=START_LIMIT,
    ).stderr.splitlines()
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if line.startswith("import time:")}


def seconds(*command: str) -> float:
    """The median of STARTS calls."""
    took = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=START_LIMIT)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def idle() -> tuple[int, float]:
    """Resident bytes of an idle worker, and its part of a core."""
    with tempfile.TemporaryDirectory(prefix="taskrunner-bench-") as home:
        process = subprocess.Popen(
            [TASKRUNNER, "run"],
            env=os.environ | {"TASKRUNNER_HOME": home},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            time.sleep(SETTLE)
            before = cpu_seconds(process.pid)
            time.sleep(PERIOD)
            return resident(process.pid), (cpu_seconds(process.pid) - before) / PERIOD
        finally:
            process.terminate()
            process.wait(START_LIMIT)


def cpu_seconds(pid: int) -> float:
    """Of all threads, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> int:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) << 10


def judge(text: str, *, met: bool) -> bool:
    print(f"  {text}{'' if met else '   MISSED'}", flush=True)
    return met


def help_is_light() -> bool:
    with tempfile.TemporaryDirectory() as home:
        found = sorted(imported("--help", home=home) & set(LIBRARIES))
    return judge(f"--help imports, beside click: {', '.join(found) or 'nothing'}", met=not found)


def claim_is_light() -> bool:
    """A worker whose queue is empty has claimed once when it stops."""
    with tempfile.TemporaryDirectory() as home:
        found = sorted(imported("run", "--until-empty", home=home) & set(HEAVY))
    return judge(
        f"at its first claim, run has imported of what is heavy: {', '.join(found) or 'nothing'}", met=not found
    )


def help_is_quick() -> bool:
    """Without a target: a comparison with the start of the interpreter."""
    bare = seconds(sys.executable, "-c", "")
    ours = seconds(str(TASKRUNNER), "--help")
    return judge(f"--help takes {1e3 * ours:.0f} ms, where the interpreter alone takes {1e3 * bare:.0f} ms", met=True)


def idle_is_cheap() -> bool:
    memory, cpu = idle()
    most = f"at most {MAX_MEMORY >> 20} MiB and {MAX_CPU:.1%}"
    text = f"an idle worker has {memory / (1 << 20):.1f} MiB and takes {cpu:.2%} of a core over {PERIOD:.0f} s, {most}"
    return judge(text, met=memory < MAX_MEMORY and cpu < MAX_CPU)


def main() -> int:
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    met = [help_is_light(), claim_is_light(), help_is_quick(), idle_is_cheap()]
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
