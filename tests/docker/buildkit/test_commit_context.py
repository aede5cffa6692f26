"""The files of a commit as a context: what BuildKit requests again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from taskrunner_docker.buildkit import BuildOutcome, BuildRequest
from taskrunner_git import Commit, fetch
from tests.docker.buildkit.conftest import TIMEOUT, Builder
from tests.support.githttp import commit, make_repository

DOCKERFILE = "FROM taskrunner-base\nCOPY . /context\n"


class CommitBuilder:
    """Builds commits of one repository, with one mirror."""

    def __init__(self, folder: Path, builder: Builder) -> None:
        self.repository, self._mirror, self._builder = folder / "web", folder / "mirror", builder

    def build(self, context: str = ".") -> BuildOutcome:
        return asyncio.run(asyncio.wait_for(self._build(context), TIMEOUT))

    async def _build(self, context: str) -> BuildOutcome:
        source = await self._fetch()
        key = f"{source.times_key}/{context}"
        labels = {"taskrunner.test": self._builder.label}
        try:
            return await self._builder.run(BuildRequest(source.below(context), labels=labels, shared_key=key))
        finally:
            source.close()

    async def _fetch(self) -> Commit:
        return await fetch(
            str(self.repository), "", token=None, mirror=self._mirror, say=lambda _: None, progress=lambda _: None
        )


def test_a_changed_file_of_the_same_size_and_second_is_sent_again_and_no_other(
    tmp_path: Path, builder: Builder
) -> None:
    commits = CommitBuilder(tmp_path, builder)
    make_repository(commits.repository, {"Dockerfile": DOCKERFILE, "a": "1" * 1000, "b/c": "1" * 100})
    assert commits.build().sent_bytes > 1100
    assert commits.build().sent_bytes == 0
    commit(commits.repository, {"b/c": "2" * 100})
    outcome = commits.build()
    assert outcome.sent_bytes == 100
    assert builder.output(outcome, "cat", "/context/b/c") == "2" * 100
    commit(commits.repository, {"b/c": "1" * 100})
    outcome = commits.build()
    assert outcome.sent_bytes == 100
    assert builder.output(outcome, "cat", "/context/b/c") == "1" * 100


def test_two_folders_as_contexts_are_not_taken_for_each_other(tmp_path: Path, builder: Builder) -> None:
    commits = CommitBuilder(tmp_path, builder)
    make_repository(
        commits.repository,
        {f"{name}/{path}": text for name in "xy" for path, text in (("Dockerfile", DOCKERFILE), ("n", name))},
    )
    for name in "xyx":
        assert builder.output(commits.build(name), "cat", "/context/n") == name
