"""Builds again with a large context, against Docker's own command.

    python bench/context.py [MB]

A repository of files that cannot be compressed, most of which have a layer of their own; the other side has them in a
folder, so that it fetches nothing. Each builds it with nothing in BuildKit's cache, which has no target. Then both
build it again as it is, and with one file changed, by turns. A third side shows the daemon's own part: it has the list
of files ready, fetches nothing, and does nothing else. Exits with 1 when a target is missed; with one file changed, 1.1
of the floor is enough.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import docker
from build_cache import cached, prune
from context_floor import TAG, ReadySender, ready_sender
from docker.errors import ImageNotFound
from docker_sides import IMAGE, Worker, ensure_base_image, load, run_docker, seconds_of, worker

from tests.support.githttp import GitServer, commit, export_bare, git

SIZE = 200
"""MB."""
FILE = 10_000
"""Bytes of one file, as in a program: 20,000 files in all, which either side lists for each build."""
FOLDER = 100
"""Files of one folder."""
ROUNDS = 3
UNCHANGED, CHANGED = "unchanged", "one file changed"
MAX_RATIO = {UNCHANGED: 0.3, CHANGED: 0.7}
"""Our time as a part of that of the command, at most."""
MAX_OF_FLOOR = 1.1
PAUSE = 2.0
"""Seconds before each round: BuildKit ends the session of a build a second after it."""
DOCKERFILE = f"""\
FROM {IMAGE}
COPY vendor /bench-src/vendor
COPY src /bench-src/src
"""
THEIRS = "bench-context-cli"


@attrs.frozen
class Sides:
    """The same files in a repository that a worker fetches, and in a folder."""

    running: Worker
    url: str
    repository: Path
    folder: Path
    floor: ReadySender

    async def ours(self) -> float:
        task: dict[str, Any] = {"source": {"repository": self.url, "ref": "main"}, "build": {}}
        task_id = await self.running.submit(task)
        seconds = await seconds_of(self.running.resolved(task_id))
        await self.running.cleaned(task_id)
        return seconds

    async def theirs(self) -> float:
        return await seconds_of(run_docker("build", "--quiet", "--tag", THEIRS, str(self.folder)))

    async def times(self, number: int) -> list[float]:
        """Ours, theirs and the floor. Each round begins with another one."""
        os.sync()
        await asyncio.sleep(PAUSE)
        sides = [self.ours, self.theirs, self.floor.seconds]
        found = [0.0] * len(sides)
        for place in range(len(sides)):
            at = (number + place) % len(sides)
            found[at] = await sides[at]()
        mine, other, floor = found
        print(
            f"    {mine:.2f} s, docker build {other:.2f} s, ratio {mine / other:.2f}; floor {floor:.2f} s, of it "
            f"{mine / floor:.2f}; {load()}",
            flush=True,
        )
        return found

    def change(self) -> None:
        """All have another text: what one build has made is no help to the next."""
        commit(self.folder, {"src/page.txt": secrets.token_hex()})
        git(self.folder, "push", "--quiet", str(self.repository), "main")
        (self.folder / "src/page.txt").write_text(secrets.token_hex())
        self.floor.change("src/page.txt", secrets.token_hex().encode())


def make_folder(folder: Path, size: int) -> None:
    (folder / "src").mkdir(parents=True)
    for number in range(size * 1_000_000 // FILE):
        file = folder / "vendor" / f"part{number // FOLDER}" / f"file{number % FOLDER:02}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(FILE))
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, {"Dockerfile": DOCKERFILE, ".dockerignore": ".git\n", "src/page.txt": "A page.\n"})


async def measure(folder: Path, size: int, engine: docker.DockerClient, known: set[str]) -> int:
    make_folder(folder / "files", size)
    repository = export_bare(folder / "files", folder / "git" / "files.git")
    met = []
    with GitServer(folder / "git") as server:
        async with worker(folder / "home") as running, ready_sender(folder / "files") as floor:
            sides = Sides(running, server.url("files.git"), repository, folder / "files", floor)
            print(f"nothing cached: {size} MB, {load()}", flush=True)
            for name, side in (("docker build", sides.theirs), ("ours", sides.ours), ("floor", floor.seconds)):
                print(f"    {name} {await side():.2f} s, {load()}", flush=True)
                forget(engine, known)
            for side in (sides.ours, sides.theirs, floor.seconds):  # each has its copy of the context again
                await side()
            for what, limit in MAX_RATIO.items():
                print(f"{what}: {size} MB, {ROUNDS} rounds, {load()}", flush=True)
                rounds = [await one_round(sides, what, number) for number in range(ROUNDS)]
                ratio = statistics.median(mine / other for mine, other, _ in rounds)
                of_floor = statistics.median(mine / floor for mine, _, floor in rounds)
                met.append(ratio <= limit or (what == CHANGED and of_floor <= MAX_OF_FLOOR))
                missed = "" if met[-1] else "   MISSED"
                print(f"  ratio {ratio:.2f}, at most {limit}; {of_floor:.2f} of the floor{missed}")
    return int(not all(met))


async def one_round(sides: Sides, what: str, number: int) -> list[float]:
    if what == CHANGED:
        sides.change()
    return await sides.times(number)


def forget(engine: docker.DockerClient, known: set[str]) -> None:
    """Removes what the builds have made, so that none helps the next."""
    for tag in (THEIRS, TAG):
        with suppress(ImageNotFound):  # its first build has failed, or is still to come
            engine.images.remove(tag)
    prune(engine, known)


def main() -> int:
    ensure_base_image()
    engine = docker.from_env(timeout=600)
    known = cached(engine)
    try:
        with tempfile.TemporaryDirectory(prefix="taskrunner-bench-") as folder:
            size = int(sys.argv[1]) if len(sys.argv) > 1 else SIZE
            return asyncio.run(measure(Path(folder), size, engine, known))
    finally:
        forget(engine, known)
        engine.close()


if __name__ == "__main__":
    sys.exit(main())
