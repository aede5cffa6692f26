"""A commit of a git repository as the source of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.connections import Connections
from taskrunner.errors import Bug, TaskFailed, TaskFailedInternally, Unavailable, local_failure
from taskrunner.files.untrusted import remove_folder
from taskrunner.interfaces.caches import Lease
from taskrunner.interfaces.platform import RunContext
from taskrunner.model import Source
from taskrunner.schema.repositories import RepositoryRules
from taskrunner_git import Commit, FileTree, Remote, parse_url, with_git_folder, write_checkout
from taskrunner_git import fetch as fetch_commit
from taskrunner_source.fetched import FetchedSource, Owner, Provenance

T = TypeVar("T")

_WRITE_LIMIT = 3600.0
"""Seconds to write the files of a commit: a million small ones, on a slow disk."""
_GRACE = 30.0
"""Seconds that a cancelled checkout waits for its thread, which stops at the next file."""


@attrs.define
class FetchedCommit(FetchedSource):
    """A commit, and the lease on the mirror that its files are read from."""

    commit: Commit
    _mirror: Lease
    _git: Path
    """The folder for the `.git` of `files`."""
    _has_git: bool = False

    @property
    def identity(self) -> Mapping[str, str]:
        return {"commit": self.commit.sha}

    @property
    def provenance(self) -> Provenance:
        url = "" if self.commit.url.startswith("/") else self.commit.url
        return Provenance(url, self.commit.sha, self.commit.committed)

    @property
    def times_key(self) -> str:
        return self.commit.times_key

    @property
    def state(self) -> str:
        return self.commit.state

    async def files(self, path: str, *, keep_git: bool = False) -> FileTree:
        if not keep_git:
            return self.commit.below(path)
        self._has_git = True
        connections = Connections()
        return await _writing(lambda: with_git_folder(self.commit, self._git, connections.check), connections)

    async def release(self) -> None:
        """The commit is closed."""
        self.commit.close()
        await self._mirror.commit()
        if self._has_git:
            await run_blocking(partial(remove_folder, self._git), limit=_WRITE_LIMIT, doing="removing a copy of .git")


async def fetch(context: RunContext) -> FetchedCommit:
    """The mirror is a cache of the engine that this run alone uses until the release, and no task can name it. A fetch
    that failed in an orderly way, for instance by a branch that does not exist, leaves it intact; after an interrupted
    one it is discarded.

    Raises: as `fetch_source`.
    """
    source = context.task.source
    if source is None:
        raise Bug("the caller has checked that there is a source")
    token = context.reveal(source.token) if source.token else None
    remote = parse_url(source.repository)
    for secret in remote.with_token(token).credentials:
        context.log.mask(secret)
    mirror = await context.caches.exclusive(_mirror_name(remote.with_token(token)))
    try:
        commit = await _fetch(context, source, token, mirror.folder.path)
    except (TaskFailed, Unavailable):
        await mirror.commit()
        raise
    except BaseException:
        await mirror.discard()
        raise
    return FetchedCommit(commit, mirror, context.folder / "git")


async def checkout(
    context: RunContext, folder: Path, owner: Owner | None, ignored: Sequence[str], *, moved: bool
) -> str:
    """As `source.checkout`; returns the id of the commit."""
    source = await fetch(context)
    connections = Connections()

    def write() -> int:
        return write_checkout(source.commit, folder, owner, ignored, moved=moved, check=connections.check)

    try:
        count = await _writing(write, connections)
    finally:
        await source.release()
    context.log.say(f"checkout: {count} files")
    return source.commit.sha


async def _fetch(context: RunContext, source: Source, token: str | None, mirror: Path) -> Commit:
    options = context.source_options
    return await fetch_commit(
        source.repository,
        source.ref,
        submodules=source.submodules,
        rules=RepositoryRules(options.repositories),
        token=token,
        mirror=mirror,
        say=context.log.say,
        progress=context.progress,
        ca_file=Path(options.ca_file) if options.ca_file else None,
        limits=options.limits,
    )


async def _writing(write: Callable[[], T], connections: Connections) -> T:
    """Writes files of a commit, in a thread. Raises TaskFailed, TaskFailedInternally."""
    try:
        return await run_blocking(
            write, limit=_WRITE_LIMIT, doing="writing the files", interrupt=connections.interrupt, grace=_GRACE
        )
    except OverLimit as error:
        raise TaskFailedInternally(str(error)) from None
    except OSError as error:
        raise local_failure(f"the files of the commit could not be written: {error.strerror}", error) from None


def _mirror_name(remote: Remote) -> str:
    """A mirror belongs to the credentials that filled it: without them, a task could read a private repository from the
    mirror by the id of a commit."""
    login = [remote.user, remote.password] if remote.is_http else []
    digest = hashlib.sha256("\0".join([str(remote), *login]).encode())
    return f"git-{digest.hexdigest()[:32]}"
