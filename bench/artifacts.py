"""A folder of 500 MB out of a container into a store, against `docker cp` of the same folder.

    python bench/artifacts.py [ROUNDS]

By turns: `docker cp`; the folder as files; the folder as one tar. Each writes to the same disk (`TMPDIR`) and removes
what it wrote. Prints the medians, and the most memory that was allocated while it was read; exits with 1 when a target
is missed. Uses the Docker of DOCKER_HOST.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "script")]

from base_image import ensure_base_image  # noqa: E402  the checkout's own modules are on the path only now

from taskrunner.interfaces.results import Entry, Results  # noqa: E402
from taskrunner.model import ArtifactSpec, RunKey  # noqa: E402
from taskrunner.runs.upload.artifact_upload import collect  # noqa: E402
from taskrunner.stores.folder import FolderStore  # noqa: E402
from taskrunner.testing import MemoryLog  # noqa: E402
from taskrunner_docker.api.client import DockerClient  # noqa: E402
from taskrunner_docker.container.archive import ContainerFiles  # noqa: E402

ROUNDS = 5
FILES, FILE_SIZE = 500, 1_000_000
RATE = 0.7
"""Target: of the rate of `docker cp`."""
MEMORY = 32 << 20
"""Target: bytes allocated at any moment."""
MAKE = f"mkdir /out && cd /out && for n in $(seq {FILES}); do head -c {FILE_SIZE} /dev/urandom > $n; done"
RUN = RunKey("bench", 0)
SIDES = {
    "files": ArtifactSpec("out", "/out"),
    "one tar": ArtifactSpec("out.tar", "/out", archive=True),
}


class FilesOnly(Results):
    """Those of a container that is not a run's own."""

    exit_code = 0

    def __init__(self, files: ContainerFiles) -> None:
        self._files = files

    async def archive_file(self, path: str) -> Entry:
        return await self._files.file(path)

    def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        return self._files.folder(path)

    async def archive(self, path: str = ".") -> Entry:
        return await self._files.archive(path)

    async def dispose(self) -> None:
        pass


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    ensure_base_image()
    container = _docker("run", "-d", "taskrunner-base", "sh", "-c", MAKE)
    try:
        _docker("wait", container)
        with tempfile.TemporaryDirectory() as folder:
            return _measure(container, Path(folder), rounds)
    finally:
        _docker("rm", "-f", container)


def _measure(container: str, folder: Path, rounds: int) -> int:
    print(f"{FILES} files of {FILE_SIZE:,} bytes, {rounds} rounds, load average {os.getloadavg()[0]:.1f}")
    sides: dict[str, Callable[[], object]] = {"docker cp": lambda: _docker("cp", f"{container}:/out", str(folder))}
    sides |= {name: _keeping(container, folder, spec) for name, spec in SIDES.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(_timed(side, folder))
    memory = {name: _most_memory(sides[name], folder) for name in SIDES}
    peer = statistics.median(times["docker cp"])
    print(f"  {'docker cp':10} {peer:6.2f} s")
    for name in SIDES:
        median = statistics.median(times[name])
        print(f"  {name:10} {median:6.2f} s   {peer / median:.2f} of its rate, {memory[name] / (1 << 20):.1f} MiB")
    slow = any(peer / statistics.median(times[name]) < RATE for name in SIDES)
    return int(slow or max(memory.values()) > MEMORY)


def _keeping(container: str, folder: Path, spec: ArtifactSpec) -> Callable[[], None]:
    async def keep() -> None:
        client = await DockerClient.connect("")
        try:
            results = FilesOnly(ContainerFiles(client, container, "/", MemoryLog()))
            store = FolderStore(folder / "store")
            await collect((spec,), results, store, RUN, lambda _: None, lambda _: None)
        finally:
            client.dispose()

    return lambda: asyncio.run(keep())


def _timed(side: Callable[[], object], folder: Path) -> float:
    begin = time.monotonic()
    side()
    taken = time.monotonic() - begin
    for made in folder.iterdir():
        shutil.rmtree(made)
    return taken


def _most_memory(side: Callable[[], object], folder: Path) -> int:
    """In a round of its own: watching each allocation takes time."""
    tracemalloc.start()
    try:
        _timed(side, folder)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
