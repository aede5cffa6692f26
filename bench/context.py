"""Builds again with a large context, against Docker's own command.

    python bench/context.py [MB]

A repository of files that cannot be compressed, most of which have a layer of their own; the other side has them in a
folder, so that it fetches nothing. Each side has built it before. Then both build it again as it is, and with one file
changed, by turns. Exits with 1 when a target is missed.
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

    async def ours(self) -> float:
        task: dict[str, Any] = {"source": {"repository": self.url, "ref": "main"}, "build": {}}
        task_id = await self.running.submit(task)
        seconds = await seconds_of(self.running.resolved(task_id))
        await self.running.cleaned(task_id)
        return seconds

    async def theirs(self) -> float:
        return await seconds_of(run_docker("build", "--quiet", "--tag", THEIRS, str(self.folder)))

    async def ratio(self) -> float:
        os.sync()
        mine, other = await self.ours(), await self.theirs()
        print(f"    {mine:.2f} s, docker build {other:.2f} s, ratio {mine / other:.2f}", flush=True)
        return mine / other

    def change(self) -> None:
        """Both have another text: what one build has made is no help to the other."""
        commit(self.folder, {"src/page.txt": secrets.token_hex()})
        git(self.folder, "push", "--quiet", str(self.repository), "main")
        (self.folder / "src/page.txt").write_text(secrets.token_hex())


def make_folder(folder: Path, size: int) -> None:
    (folder / "src").mkdir(parents=True)
    for number in range(size * 1_000_000 // FILE):
        file = folder / "vendor" / f"part{number // FOLDER}" / f"file{number % FOLDER:02}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(FILE))
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, {"Dockerfile": DOCKERFILE, ".dockerignore": ".git\n", "src/page.txt": "A page.\n"})


async def measure(folder: Path, size: int) -> int:
    make_folder(folder / "files", size)
    repository = export_bare(folder / "files", folder / "git" / "files.git")
    met = []
    with GitServer(folder / "git") as server:
        async with worker(folder / "home") as running:
            sides = Sides(running, server.url("files.git"), repository, folder / "files")
            await sides.ratio()  # nothing is cached, and the command may be helped by what ours has made
            for what, limit in MAX_RATIO.items():
                print(f"{what}: {size} MB, {ROUNDS} rounds, {load()}", flush=True)
                ratio = statistics.median([await one_round(sides, what) for _ in range(ROUNDS)])
                met.append(ratio <= limit)
                print(f"  ratio {ratio:.2f}, at most {limit}{'' if met[-1] else '   MISSED'}")
    return int(not all(met))


async def one_round(sides: Sides, what: str) -> float:
    if what == CHANGED:
        sides.change()
    return await sides.ratio()


def main() -> int:
    ensure_base_image()
    engine = docker.from_env(timeout=600)
    known = cached(engine)
    try:
        with tempfile.TemporaryDirectory(prefix="taskrunner-bench-") as folder:
            return asyncio.run(measure(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else SIZE))
    finally:
        with suppress(ImageNotFound):  # its first build has failed
            engine.images.remove(THEIRS)
        prune(engine, known)
        engine.close()


if __name__ == "__main__":
    sys.exit(main())
