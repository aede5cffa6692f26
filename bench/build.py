"""Clone, build and push of a repository of 20,000 files over HTTP, against the script that does the same, and against
`docker build URL#ref` and a push.

    python bench/build.py [ROUNDS [SHAPE]]

Prints a table for each shape of Dockerfile, and exits with 1 when a target is missed. Uses the Docker of DOCKER_HOST.
Everything is real: git's own http-backend and a registry on 127.0.0.1, Docker with BuildKit, the installed commands. In
each round each side gets a repository of its own, equal but for two files, so that no cache has anything of it; then
one file of it changes, and both run again.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import attrs
import docker
from docker.errors import APIError

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "script"), str(ROOT / "bench")]

from base_image import ensure_base_image  # noqa: E402  the checkout's own modules are on the path only now
from build_cache import cached, prune  # noqa: E402
from build_sides import (  # noqa: E402
    FloorSide,
    Measured,
    OneTaskSide,
    ScriptSide,
    Side,
    UrlSide,
    WorkerSide,
    start,
)
from build_sources import FILES, SHAPES, Source, change_one, fresh, make  # noqa: E402

from tests.support.githttp import GitServer  # noqa: E402
from tests.support.registry import registry  # noqa: E402

ROUNDS = 3
FIRST, CHANGED = "first time", "one file changed"
FLOOR = "floor"
THEIRS = ("script", "URL#ref", FLOOR)
MAX_RATIO = {
    FIRST: {"script": 0.85, "URL#ref": 0.95},
    CHANGED: {"script": 0.12, "URL#ref": 0.5},
}
"""Our time as a part of theirs, at most."""
MAX_FLOOR = 1.1
"""Where that is not reached: our time as a part of the floor, at most."""
MAX_MEMORY = 150 << 20
"""Bytes of the worker's process, at most."""
STEP_LIMIT = 600
"""Seconds for one call of Docker: only a broken engine takes as long."""

Times = dict[str, list[Measured]]
"""By side: one measurement for each round."""


@attrs.frozen
class BuildBench:
    """The folders, servers and sides of all rounds."""

    folder: Path
    git: GitServer
    registry: str
    engine: docker.DockerClient
    sides: dict[str, Side]

    def round(self, shape: str, base: Source, number: int, into: dict[str, Times]) -> None:
        """One round; the order of the sides alternates."""
        names = list(self.sides) if number % 2 else list(self.sides)[::-1]
        for name in names:
            source = fresh(base, f"{shape}-{name.split()[0].lower().replace('#', '-')}-{number}")
            tag = f"{self.registry}/{source.name.removesuffix('.git')}"
            url = self.git.url(source.name)
            into[FIRST][name].append(self.sides[name].measure(url, f"{tag}:1"))
            change_one(source)
            into[CHANGED][name].append(self.sides[name].measure(url, f"{tag}:2"))
            self._remove(f"{tag}:1", f"{tag}:2")

    def _remove(self, *tags: str) -> None:
        """Removes the images of the script; the worker removes its own."""
        for tag in tags:
            with suppress(APIError):
                self.engine.images.remove(tag)


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    shapes = sys.argv[2:3] or list(SHAPES)
    missed: list[str] = []
    with _bench() as bench:
        driver = bench.engine.info()["Driver"]
        print(f"{os.cpu_count()} processors, Docker on {driver}, {FILES} files, {rounds} rounds", flush=True)
        for shape in shapes:
            base = make(bench.folder / "git" / f"{shape}.git", shape)
            times: dict[str, Times] = {what: {name: [] for name in bench.sides} for what in (FIRST, CHANGED)}
            for number in range(rounds):
                bench.round(shape, base, number, times)
            print(f"\n{shape}, load average {_load()}:\n\n{_indented(SHAPES[shape])}")
            for what in (FIRST, CHANGED):
                missed += [f"{shape}, {what}: {line}" for line in report(what, times[what])]
    print("\n" + "\n".join(f"MISSED {line}" for line in missed) if missed else "\nevery target is met")
    return 1 if missed else 0


def report(what: str, times: Times) -> Iterator[str]:
    """Prints a table; a line for each target that is missed."""
    theirs = {name: _median(times[name]) for name in THEIRS}
    others = " ".join(f"{name:>7}" for name in THEIRS)
    print(f"{what:16}  {'median':>7} {'from':>6} {'to':>6}  {others}   memory    cpu  phases, s")
    for name, found in times.items():
        seconds = [one.seconds for one in found]
        ratios = {other: _median(found) / of for other, of in theirs.items()}
        memory = max(one.peak for one in found)
        shown = f"{memory / (1 << 20):4.0f}MiB" if memory else ""
        cpu = f"{statistics.median(one.cpu for one in found):.2f}" if memory else ""
        spread = f"{_median(found):7.2f} {min(seconds):6.2f} {max(seconds):6.2f}"
        columns = " ".join(f"{ratio:7.2f}" for ratio in ratios.values())
        print(f"{name:16}  {spread}  {columns}  {shown:>7} {cpu:>6}  {_phases(found)}", flush=True)
        if name not in theirs and ratios[FLOOR] > MAX_FLOOR:
            for other, most in MAX_RATIO[what].items():
                if ratios[other] > most:
                    yield f"{name} takes {ratios[other]:.2f} of the time of {other}, and may take {most}"
        if memory > MAX_MEMORY:
            yield f"{name} takes {memory >> 20} MiB, and may take {MAX_MEMORY >> 20}"


def _median(found: list[Measured]) -> float:
    return statistics.median(one.seconds for one in found)


def _phases(found: list[Measured]) -> str:
    names = found[0].phases
    return "  ".join(f"{name} {statistics.median(one.phases.get(name, 0) for one in found):.2f}" for name in names)


@contextmanager
def _bench() -> Iterator[BuildBench]:
    ensure_base_image()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskrunner-bench-")))
        engine = docker.from_env(timeout=STEP_LIMIT)
        stack.callback(engine.close)
        stack.callback(prune, engine, cached(engine))
        git = stack.enter_context(GitServer(folder / "git"))
        images = stack.enter_context(registry(folder / "registry"))
        homes = [folder / "one", folder / "warm"]
        for home in homes:
            home.mkdir()
        worker = stack.enter_context(start(homes[1], "run"))
        stack.callback(worker.terminate)
        sides: dict[str, Side] = {
            "script": ScriptSide(folder),
            "URL#ref": UrlSide(),
            FLOOR: FloorSide(folder),
            "run --task": OneTaskSide(homes[0]),
            "worker": WorkerSide(homes[1], worker.pid),
        }
        yield BuildBench(folder, git, images.host, engine, sides)


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def _load() -> str:
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


if __name__ == "__main__":
    sys.exit(main())
