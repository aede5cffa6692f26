from __future__ import annotations

import asyncio
import random
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from taskrunner.interfaces.source import SourceLimits
from taskrunner.model import Progress
from taskrunner_git import Commit, FileTree, fetch
from tests.support.githttp import GitServer


@attrs.define
class Fetcher:
    """Fetches into one mirror, and keeps the lines of the log and the progress."""

    mirror: Path
    lines: list[str] = attrs.field(factory=list)
    progress: list[Progress] = attrs.field(factory=list)
    limits: SourceLimits = attrs.field(factory=SourceLimits)

    @contextmanager
    def commit(self, repository: str, ref: str = "", token: str | None = None) -> Iterator[Commit]:
        commit = asyncio.run(self.fetch(repository, ref, token))
        try:
            yield commit
        finally:
            commit.close()

    async def fetch(self, repository: str, ref: str = "", token: str | None = None) -> Commit:
        return await fetch(
            repository,
            ref,
            token=token,
            mirror=self.mirror,
            say=self.lines.append,
            progress=self.progress.append,
            limits=self.limits,
        )

    def sha(self, repository: str, ref: str = "", token: str | None = None) -> str:
        with self.commit(repository, ref, token) as commit:
            return commit.sha

    def files(self, repository: str, ref: str = "", token: str | None = None) -> dict[str, bytes]:
        with self.commit(repository, ref, token) as commit:
            return contents(commit)


def contents(source: FileTree) -> dict[str, bytes]:
    return {entry.path: b"".join(source.read(entry.path)) for entry in source.entries() if stat.S_ISREG(entry.mode)}


def noise(seed: int, size: int) -> bytes:
    """Reproducible bytes that do not compress."""
    return random.Random(seed).randbytes(size)  # noqa: S311  no secret


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path / "mirror")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the server's repositories."""
    path = tmp_path / "served"
    path.mkdir()
    return path


@pytest.fixture
def server(root: Path) -> Iterator[GitServer]:
    with GitServer(root) as running:
        yield running


@pytest.fixture
def locked(root: Path) -> Iterator[GitServer]:
    """A server that requires a token."""
    with GitServer(root, token="the-t0ken/with+odd=signs") as running:
        yield running
