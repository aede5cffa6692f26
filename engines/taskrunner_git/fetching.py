"""From a repository's URL to a commit: `fetch`."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.connections import Connections, Interrupted
from taskrunner.errors import TaskrunnerError
from taskrunner.model import Progress
from taskrunner_git import submodules
from taskrunner_git.commit import Commit
from taskrunner_git.commit_tree import CommitTree
from taskrunner_git.explain import explain, internal
from taskrunner_git.failures import Broken, clone_failed, quoted, unavailable
from taskrunner_git.mirror_updater import MirrorUpdater
from taskrunner_git.packs.mirror import MODULES, Mirror
from taskrunner_git.remote import Remote, parse_url
from taskrunner_git.times import remember

_LIMIT = 6 * 3600.0
"""Seconds for a commit with its submodules: 20 GB at 1 MB/s. A silent server or a limit of the run ends it earlier."""
_GRACE = 5.0
"""Seconds that a cancelled fetch waits for its thread. Only a query of the name service and a connection that is not
made yet cannot be interrupted; the thread changes nothing after them."""
_MAX_NESTED = 8
"""Levels of submodules within submodules."""


async def fetch(
    repository: str,
    ref: str,
    *,
    token: str | None,
    mirror: Path,
    say: Callable[[str], None],
    progress: Callable[[Progress], None],
) -> Commit:
    """Fetches one commit with its submodules; only objects that `mirror` lacks are transferred.

    `repository` is a URL (https, http, ssh, git, file, `user@host:path`) or an absolute path; credentials in it are
    used and never shown. `ref` is a branch, a tag or a commit; empty means the default branch. `token` is sent over
    HTTP only, to this host and for submodules on the same host, and appears in no file, log or error. `mirror` is a
    folder that nothing else uses until the commit is closed; a damaged one is made anew. `say` and `progress` are
    called from a thread.

    Cancelling it ends the transfer at once; the mirror stays usable.
    Raises: TaskFailed (`clone-failed`), TaskFailedInternally (the disk), Unavailable.
    """
    remote = parse_url(repository).with_token(token)
    connections = Connections()
    job = _Fetch(connections, say, progress)
    try:
        outcome = await run_blocking(
            lambda: job.run(remote, ref, mirror),
            limit=_LIMIT,
            doing=f"fetching {remote}",
            interrupt=connections.interrupt,
            grace=_GRACE,
            discard=_close,
        )
    except OverLimit as error:
        raise unavailable(str(error)) from None
    if isinstance(outcome, Commit):
        return outcome
    raise outcome


def _close(outcome: Commit | Exception) -> None:
    """Closes a commit that is returned after its caller has given up."""
    if isinstance(outcome, Commit):
        outcome.close()


class _Fetch:
    """One fetch. All of it runs in one thread."""

    def __init__(
        self, connections: Connections, say: Callable[[str], None], progress: Callable[[Progress], None]
    ) -> None:
        self._connections, self._say, self._progress = connections, say, progress
        self._mirrors: dict[Path, Mirror] = {}

    def run(self, remote: Remote, ref: str, folder: Path) -> Commit | Exception:
        """Returns an error instead of raising it, so that the caller gets it without causes and frames."""
        failure: Exception
        try:
            return self._run(remote, ref, folder)
        except Interrupted as error:
            failure = error
        except OSError as error:
            failure = internal(error, remote)
        except (TaskrunnerError, Broken) as error:
            failure = explain(error, remote, ref)
        except Exception as error:  # noqa: BLE001  `fetch` raises it
            failure = error
        finally:
            self._connections.close()
        for mirror in self._mirrors.values():
            mirror.close()
        return failure

    def _run(self, remote: Remote, ref: str, folder: Path) -> Commit:
        self._say(f"clone: {remote}, {quoted(ref) or 'the default branch'}")
        mirror, sha, root = self._fetch(remote, ref, folder)
        self._say(f"clone: commit {sha}")
        tree = CommitTree(mirror.objects, root)
        tree = CommitTree(mirror.objects, root, self._submodules(tree, remote, folder / MODULES, 1))
        self._remove_unused(folder / MODULES)
        tree.say = self._say
        tree.times = remember(folder, tree, sha)
        return Commit(sha, str(remote), tree, list(self._mirrors.values()))

    def _fetch(self, remote: Remote, ref: str, folder: Path) -> tuple[Mirror, str, bytes]:
        """Tries a second time with an empty mirror, when the objects in it are corrupt."""
        first = folder not in self._mirrors
        if first:
            self._mirrors[folder] = Mirror(folder, str(remote))
        mirror = self._mirrors[folder]
        updater = MirrorUpdater(remote, mirror, self._connections, self._progress)
        used = bool(mirror.tips)
        try:
            return mirror, *updater.fetch(ref)
        except Broken:
            if not (first and used):
                raise
        mirror.clear()
        return mirror, *updater.fetch(ref)

    def _submodules(self, tree: CommitTree, remote: Remote, modules: Path, depth: int) -> dict[str, CommitTree]:
        urls = submodules.urls(tree)
        if not urls:
            return {}
        if depth > _MAX_NESTED:
            raise clone_failed(f"submodules are nested more than {_MAX_NESTED} deep")
        found = {}
        for path, sha in tree.submodule_paths():
            if path in urls:
                found[path] = self._submodule(remote.submodule(urls[path]), path, sha, modules, depth)
            else:
                self._say(f"clone: submodule {quoted(path)} has no URL in .gitmodules and stays empty")
        return found

    def _submodule(self, remote: Remote, path: str, sha: str, modules: Path, depth: int) -> CommitTree:
        self._say(f"clone: submodule {quoted(path)} from {remote}, commit {sha}")
        folder = modules / hashlib.sha256(str(remote).encode()).hexdigest()[:16]
        mirror, _, root = self._fetch(remote, sha, folder)
        inner = self._submodules(CommitTree(mirror.objects, root), remote, modules, depth + 1)
        return CommitTree(mirror.objects, root, inner)

    def _remove_unused(self, modules: Path) -> None:
        """Removes the mirrors of submodules that the commit does not have."""
        for path in modules.iterdir() if modules.is_dir() else ():
            if path not in self._mirrors:
                shutil.rmtree(path)
