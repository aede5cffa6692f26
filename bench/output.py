"""The output of a container through masking and spool, against `docker run` to /dev/null.

    python bench/output.py [MIB]

Lines of ordinary text, and lines of encoded text, in which forms of secrets are looked for; a task with three secrets.
The sides alternate. Exits with 1 when a target is missed. Reads /proc, so Linux only.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from docker_sides import IMAGE, Worker, ensure_base_image, load, peak, run_docker, seconds_of, worker

SIZE = 1 << 10
"""MiB."""
ROUNDS = 3
MIN_RATE = 0.9
"""Our rate as a part of that of `docker run`, at least."""
MAX_MEMORY = 60 << 20
"""Bytes of the worker, resident, at most."""

LINES = {
    "plain": "[12:00:00] Compiling Some/Swift/Module/With/A/Name.swift for iphoneos (arm64)",
    "base64": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0",
}
SECRETS = {
    "TOKEN": "s3cr3t-t0ken-of-the-benchmark",
    "PASSWORD": "correct horse battery staple",
    "KEY": "b9c0e4f1a7d24e6d8f3b5a1c",
}


def command(line: str, mib: int) -> list[str]:
    return ["sh", "-c", f"yes '{line}' | head -c {mib << 20}"]


async def warm_up(running: Worker) -> None:
    await running.cleaned(await running.run({"image": IMAGE, "command": ["true"]}))


async def measure_line(running: Worker, line: str, mib: int) -> float:
    """Prints the rates; the median of their ratios."""
    task: dict[str, Any] = {"image": IMAGE, "command": command(line, mib), "secrets": SECRETS}
    ratios = []
    for _ in range(ROUNDS):
        task_id = await running.submit(task)
        mine = await seconds_of(running.resolved(task_id))
        await running.cleaned(task_id)
        theirs = await seconds_of(run_docker("run", "--rm", IMAGE, *command(line, mib)))
        ratios.append(theirs / mine)
        print(f"    {mib / mine:4.0f} MiB/s, docker run {mib / theirs:4.0f} MiB/s, ratio {ratios[-1]:.2f}", flush=True)
    return statistics.median(ratios)


async def measure(folder: Path, mib: int) -> int:
    met = []
    async with worker(folder / "home") as running:
        await warm_up(running)
        for name, line in LINES.items():
            print(f"{name}: {ROUNDS} rounds of {mib} MiB, {load()}", flush=True)
            ratio = await measure_line(running, line, mib)
            met.append(ratio >= MIN_RATE)
            print(f"  ratio {ratio:.2f}, at least {MIN_RATE}{'' if met[-1] else '   MISSED'}")
        memory = peak(running.pid)
        met.append(memory < MAX_MEMORY)
    print(f"  memory {memory / (1 << 20):.0f} MiB, at most {MAX_MEMORY >> 20}{'' if met[-1] else '   MISSED'}")
    return int(not all(met))


def main() -> int:
    ensure_base_image()
    with tempfile.TemporaryDirectory(prefix="taskrunner-bench-") as folder:
        return asyncio.run(measure(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else SIZE))


if __name__ == "__main__":
    sys.exit(main())
