"""The files of a run, for every engine: `fetch_source` to read them, `checkout` to have them in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.connections import Connections
from taskrunner.errors import Complaint, MalformedPayload, TaskFailed, TaskFailedInternally, Unavailable
from taskrunner.interfaces.caches import Lease
from taskrunner.interfaces.platform import RunContext
from taskrunner.model import Source
from taskrunner_git.commit import Commit
from taskrunner_git.fetching import fetch
from taskrunner_git.remote import Remote, parse_url
from taskrunner_git.work_tree.folder_writer import FolderWriter, Owner
from taskrunner_git.work_tree.git_folder import write_git_folder
from taskrunner_git.work_tree.tree_writer import write_tree

_WRITE_LIMIT = 3600.0
"""Seconds to write the files of a commit: a million small ones, on a slow disk."""
_GRACE = 30.0
"""Seconds that a cancelled checkout waits for its thread, which stops at the next file."""


@attrs.frozen
class FetchedSource:
    """A commit, and the lease on the mirror that its files are read from. The caller releases it."""

    commit: Commit
    _mirror: Lease

    async def release(self) -> None:
        """The commit is closed. May be called again."""
        self.commit.close()
        await self._mirror.commit()


async def fetch_source(context: RunContext) -> FetchedSource:
    """Fetches the commit that the `source` of the task names, to be read without a checkout. Called in `load`.

    The mirror is a cache of the engine that this run alone uses until the release, and no task can name it. A fetch
    that failed in an orderly way, for instance by a branch that does not exist, leaves it intact; after an interrupted
    one it is discarded.

    Raises: MalformedPayload (the task has no source; there is no such secret), TaskFailed (`clone-failed`),
    TaskFailedInternally (the disk), Unavailable.
    """
    source = context.task.source
    if source is None:
        fix = 'say where the files come from: [source] repository = "https://…"'
        raise MalformedPayload(Complaint("source", "is missing", fix))
    token = context.reveal(source.token) if source.token else None
    remote = parse_url(source.repository)
    if remote.password:
        context.log.mask(remote.password)
    mirror = await context.caches.exclusive(_mirror_name(remote.with_token(token)))
    try:
        commit = await _fetch(context, source, token, mirror.folder.path)
    except (TaskFailed, Unavailable):
        await mirror.commit()
        raise
    except BaseException:
        await mirror.discard()
        raise
    return FetchedSource(commit, mirror)


async def checkout(
    context: RunContext,
    folder: Path,
    *,
    owner: Owner | None = None,
    ignored: Sequence[str] = (),
    moved: bool = False,
) -> str:
    """Fetches the source of the task and writes its files into `folder`, with a `.git` as after `git clone --depth 1`.
    Returns the id of the commit. Called in `load`; the folder is empty, and nothing else writes to it meanwhile.

    `owner` gets all that is written. `ignored` are paths in the folder that `git status` is not to report, such as
    those of caches. `moved` says that the files are copied elsewhere. After an error or a cancellation the folder may
    hold a part of the files.

    Raises: as `fetch_source`.
    """
    source = await fetch_source(context)
    try:
        count = await _write(source.commit, folder, owner, ignored, moved=moved)
    finally:
        await source.release()
    context.log.say(f"checkout: {count} files")
    return source.commit.sha


async def _fetch(context: RunContext, source: Source, token: str | None, mirror: Path) -> Commit:
    return await fetch(
        source.repository,
        source.ref,
        submodules=source.submodules,
        token=token,
        mirror=mirror,
        say=context.log.say,
        progress=context.progress,
    )


async def _write(commit: Commit, folder: Path, owner: Owner | None, ignored: Sequence[str], *, moved: bool) -> int:
    """How many files and links the commit has."""
    connections = Connections()

    def write() -> int:
        with FolderWriter(folder, owner) as writer:
            states = write_tree(commit, writer, connections.check)
            write_git_folder(writer, commit, states, ignored=ignored, moved=moved, check=connections.check)
        return len(states)

    try:
        return await run_blocking(
            write, limit=_WRITE_LIMIT, doing="writing the files", interrupt=connections.interrupt, grace=_GRACE
        )
    except OverLimit as error:
        raise TaskFailedInternally(str(error)) from None
    except OSError as error:
        raise TaskFailedInternally(f"the files of the commit could not be written: {error.strerror}") from None


def _mirror_name(remote: Remote) -> str:
    """A mirror belongs to the credentials that filled it: without them, a task could read a private repository from the
    mirror by the id of a commit."""
    login = [remote.user, remote.password] if remote.is_http else []
    digest = hashlib.sha256("\0".join([str(remote), *login]).encode())
    return f"git-{digest.hexdigest()[:32]}"
