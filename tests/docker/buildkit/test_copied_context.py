"""A build of the files that the daemon has: it requests nothing, and never builds other files than the commit's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from taskrunner.connections import Connections
from taskrunner.testing import MemoryLog
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.buildkit import BuildOutcome, BuildRequest, Copies, build
from taskrunner_git import Commit, fetch
from tests.docker.buildkit.conftest import TIMEOUT, Builder
from tests.support.docker_sessions import wait_for_end
from tests.support.githttp import commit, git, make_repository

SENT = "transferring context"


class CopyingBuilder:
    """Builds commits of one repository, and remembers what the daemon has of them."""

    def __init__(self, folder: Path, builder: Builder) -> None:
        self.repository, self.builder = folder / "web", builder
        self.copies = Copies(folder / "copies")
        self._mirror = folder / "mirror"

    @property
    def session_id(self) -> str:
        [record] = self.copies.folder.iterdir()
        return str(json.loads(record.read_bytes())["session_id"])

    def build(self, **more: Any) -> BuildOutcome:
        """Builds the newest commit. The log of `builder` is that of this build."""
        return asyncio.run(asyncio.wait_for(self._build(**more), TIMEOUT))

    def build_beside(self) -> BuildOutcome:
        """Builds while another session has the id of the last build's."""
        return asyncio.run(asyncio.wait_for(self._build_beside(), TIMEOUT))

    def build_later(self, **more: Any) -> BuildOutcome:
        """Builds when the daemon has ended the session of the last build."""
        wait_for_end(self.builder.client.api, self.session_id)
        return self.build(**more)

    def text(self, outcome: BuildOutcome) -> str:
        return self.builder.output(outcome, "sh", "-c", "cd /context; ls -l src; cat src/*")

    @property
    def requested(self) -> bool:
        return SENT in self.builder.log

    async def _build(self, **more: Any) -> BuildOutcome:
        source = await self._fetch()
        client = await DockerClient.connect("")
        try:
            return await self._run(client, source, **more)
        finally:
            source.close()
            client.dispose()

    async def _build_beside(self) -> BuildOutcome:
        source = await self._fetch()
        client = await DockerClient.connect("")
        wait_for_end(self.builder.client.api, self.session_id)
        connections = Connections()
        headers = [("Connection", "Upgrade"), ("Upgrade", "h2c"), ("X-Docker-Expose-Session-Uuid", self.session_id)]
        try:
            with client.upgrade(connections, "/session", headers):
                return await self._run(client, source)
        finally:
            connections.close()
            source.close()
            client.dispose()

    async def _run(self, client: DockerClient, source: Commit, **more: Any) -> BuildOutcome:
        self.builder.written = MemoryLog()
        request = BuildRequest(
            source.below("."),
            labels={"taskrunner.test": self.builder.label},
            shared_key=f"{source.times_key}/.",
            context_state=source.state,
            **more,
        )
        log, progress = self.builder.written, self.builder.progress.append
        return await build(client, request, log=log, progress=progress, copies=self.copies)

    async def _fetch(self) -> Commit:
        return await fetch(
            str(self.repository), "", token=None, mirror=self._mirror, say=lambda _: None, progress=lambda _: None
        )


@pytest.fixture
def commits(tmp_path: Path, builder: Builder) -> CopyingBuilder:
    commits = CopyingBuilder(tmp_path, builder)
    dockerfile = (
        f"FROM taskrunner-base\nCOPY . /context\nRUN --mount=type=bind,target=/c cat /c/src/* >/{builder.label}"
    )
    make_repository(
        commits.repository,
        {"Dockerfile": dockerfile, "src/a": f"one {builder.label}", "src/b": "b", "Other": dockerfile},
    )
    return commits


def test_unchanged_files_are_not_even_listed(commits: CopyingBuilder) -> None:
    first = commits.build()
    assert commits.requested
    session_id = commits.session_id
    again = commits.build_later()
    assert not commits.requested
    assert (again.image_id, again.sent_bytes) == (first.image_id, 0)
    assert commits.session_id == session_id


def test_a_step_that_runs_again_reads_the_copy(commits: CopyingBuilder, builder: Builder) -> None:
    commits.build()
    builder.forget_step("RUN")
    outcome = commits.build_later()
    assert not commits.requested
    assert builder.output(outcome, "cat", f"/{builder.label}") == f"one {builder.label}b"


def test_an_empty_commit_on_top_changes_nothing(commits: CopyingBuilder) -> None:
    commits.build()
    commit(commits.repository, {})
    commits.build_later()
    assert not commits.requested


@pytest.mark.parametrize("change", ["content", "mode", "name", "link", "removal"])
def test_every_change_reaches_the_build(change: str, commits: CopyingBuilder) -> None:
    before = commits.text(commits.build())
    src = commits.repository / "src"
    match change:
        case "content":
            (src / "a").write_text("two" + (src / "a").read_text()[3:])
        case "mode":
            (src / "a").chmod(0o755)
        case "name":
            (src / "b").rename(src / "c")
        case "link":
            (src / "b").unlink()
            (src / "b").symlink_to("a")
        case "removal":
            (src / "b").unlink()
    commit(commits.repository, {})
    after = commits.text(commits.build_later())
    assert commits.requested
    assert after != before
    git(commits.repository, "revert", "--no-edit", "HEAD")
    back = commits.text(commits.build_later())
    assert commits.requested
    assert [line.split()[-1] for line in back.splitlines()] == [line.split()[-1] for line in before.splitlines()]
    assert [line[:10] for line in back.splitlines()] == [line[:10] for line in before.splitlines()]


@pytest.mark.parametrize("other", [{"dockerfile": "Other"}, {"build_args": {"A": "1"}}])
def test_what_may_read_other_files_requests_them(other: dict[str, Any], commits: CopyingBuilder) -> None:
    commits.build()
    commits.build_later(**other)
    assert commits.requested


def test_a_build_that_failed_leaves_no_copy(commits: CopyingBuilder) -> None:
    commits.build()
    assert commits.build_later(target="nope").image_id is None
    assert [*commits.copies.folder.iterdir()] == []
    commits.build()
    assert commits.requested


def test_a_copy_that_the_daemon_has_removed_is_sent_again(commits: CopyingBuilder, builder: Builder) -> None:
    known = {record["ID"] for record in builder.client.df()["BuildCache"]}
    commits.build()
    for record in builder.client.df()["BuildCache"]:
        if record["ID"] not in known and record["Type"] == "source.local":
            builder.client.api.prune_builds(filters={"id": record["ID"]}, all=True)
    builder.forget_step("RUN")
    outcome = commits.build_later()
    assert commits.requested
    assert outcome.sent_bytes > len(f"one {builder.label}b")
    assert builder.output(outcome, "cat", f"/{builder.label}") == f"one {builder.label}b"


def test_a_session_that_is_open_still_is_not_taken(commits: CopyingBuilder) -> None:
    first = commits.build()
    session_id = commits.session_id
    again = commits.build_beside()
    assert commits.requested
    assert again.image_id == first.image_id
    assert commits.session_id != session_id
