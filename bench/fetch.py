"""A fetch into a mirror, against `git clone --depth 1`.

    python bench/fetch.py [NAME...]

By turns, over HTTP from a server in a process of its own: the clone; a first fetch with the list of all files; a
checkout from an empty mirror, with every byte written; a fetch and list with a warm mirror, and one where a commit has
changed a file. The repositories are releases of real packages, which pip downloads into `TASKRUNNER_BENCH_CACHE`
(default `~/.cache/taskrunner-bench`); `TMPDIR` decides about the disk that is written to. Exits with 1 when a target is
missed.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.fetch_sources import PACKAGES, make_bare
from taskrunner.interfaces.platform import RunContext
from taskrunner.model import RunKey, Source, Task
from taskrunner.testing import FakeCaches, MemoryLog
from taskrunner_git import fetch
from taskrunner_source import checkout
from tests.support.githttp import GIT_ENV, git

ROUNDS = 5
FIRST, WARM = 0.7, 0.1
"""Targets: of the clone's time."""
CACHE = Path(os.environ.get("TASKRUNNER_BENCH_CACHE") or Path.home() / ".cache" / "taskrunner-bench")
SERVE = """
import sys
from pathlib import Path
from tests.support.githttp import GitServer
with GitServer(Path(sys.argv[1])) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""


@contextmanager
def served(root: Path) -> Iterator[str]:
    command = [sys.executable, "-c", SERVE, str(root)]
    cwd = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stdin
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.stdin.close()


class Sides:
    """The things that are compared. Each returns nothing, and is timed as a whole."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.mirror = folder / "mirror"

    def clone(self) -> None:
        command = ["git", "clone", "--quiet", "--depth=1", self.url, str(self.folder / "clone")]
        subprocess.run(command, env=GIT_ENV, check=True)

    def fetch_and_list(self, ref: str = "main") -> None:
        commit = asyncio.run(
            fetch(self.url, ref, token=None, mirror=self.mirror, say=lambda _: None, progress=lambda _: None)
        )
        for _ in commit.entries():
            pass
        commit.close()

    def check_out(self) -> None:
        (self.folder / "files").mkdir()
        context = RunContext(
            Task("t", "any", source=Source(self.url, "main")),
            RunKey("t", 0),
            self.folder / "files",
            MemoryLog(),
            FakeCaches(self.folder / "caches"),
            lambda secret: secret.literal,
            lambda _: None,
        )
        asyncio.run(checkout(context, self.folder / "files"))

    def round(self) -> dict[str, float]:
        took = {"clone": _timed(self.clone)}
        took["first"] = _timed(self.fetch_and_list)
        took["warm"] = _timed(self.fetch_and_list)
        shutil.rmtree(self.mirror)
        self.fetch_and_list("old")
        took["changed"] = _timed(self.fetch_and_list)
        took["checkout"] = _timed(self.check_out)
        for path in self.folder.iterdir():
            shutil.rmtree(path)
        return took


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    missed = 0
    for name in sys.argv[1:] or PACKAGES:
        repository = CACHE / f"{name}.git"
        if not repository.exists():
            make_bare(name, repository)
        missed += _compare(name, repository)
    return int(bool(missed))


def _compare(name: str, repository: Path) -> int:
    files = git(repository, "ls-tree", "-r", "--name-only", "main").count(b"\n")
    with served(repository.parent) as url, tempfile.TemporaryDirectory() as folder:
        sides = Sides(f"{url}/{repository.name}", Path(folder))
        rounds = [sides.round() for _ in range(ROUNDS)]
    print(f"{name}: {files} files, load average {os.getloadavg()[0]:.1f}")
    missed = 0
    for side in rounds[0]:
        seconds = statistics.median(each[side] for each in rounds)
        ratio = statistics.median(each[side] / each["clone"] for each in rounds)
        target = {"first": FIRST, "warm": WARM}.get(side)
        late = target is not None and ratio > target
        missed += late
        print(
            f"  {side:9} {seconds:6.2f} s  {ratio:.2f}"
            + (f"  target {target}{', missed' if late else ''}" if target else "")
        )
    return missed


if __name__ == "__main__":
    sys.exit(main())
