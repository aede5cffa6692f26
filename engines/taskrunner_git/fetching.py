"""From a repository's URL to a commit: `fetch`."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.connections import Connections, Interrupted
from taskrunner.errors import TaskFailed, TaskrunnerError, Unavailable
from taskrunner.interfaces.source import EVERYTHING, SourceLimits
from taskrunner.model import Progress
from taskrunner.schema.repositories import RepositoryRules
from taskrunner_git.allowed_remote import check_remote
from taskrunner_git.commit import Commit
from taskrunner_git.explain import explain, internal
from taskrunner_git.failures import Broken, clone_failed, quoted, stalled, too_much, unavailable
from taskrunner_git.fetch_context import FetchContext
from taskrunner_git.mirror_updater import FoundCommit, MirrorUpdater
from taskrunner_git.origin import Origin
from taskrunner_git.packs.mirror import MODULES, Mirror
from taskrunner_git.protocol.watch import Watch
from taskrunner_git.remote import Remote, parse_url
from taskrunner_git.submodules import Selection, Submodule, described, failed
from taskrunner_git.trees.commit_tree import CommitTree
from taskrunner_git.trees.times import remember

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
    submodules: bool | Sequence[str] = True,
    rules: RepositoryRules | None = None,
    ca_file: Path | None = None,
    limits: SourceLimits | None = None,
) -> Commit:
    """Fetches one commit with its submodules; only objects that `mirror` lacks are transferred.

    `repository` is a URL (https, http, ssh, git, file, `user@host:path`) or an absolute path; credentials in it are
    used and never shown. `ref` is a branch, a tag or a commit, by the rules of gitrevisions(7); empty means the default
    branch. `submodules` are all, none, or those at these paths, with the ones within them. `token` is sent over
    HTTP only, to this host and for submodules on the same host, and appears in no file, log or error. `mirror` is a
    folder that nothing else uses until the commit is closed; a damaged one is made anew. `say` and `progress` are
    called from a thread. `rules` are for this repository, its submodules and redirects; None: the caller has chosen
    the repository, and each is allowed. `ca_file` has authorities in PEM format, trusted for HTTPS beside those of the
    system and of SSL_CERT_FILE, or of GIT_SSL_CAINFO. Over one of the `limits` the fetch fails with its name.

    Cancelling it ends the transfer at once; the mirror stays usable.
    Raises: TaskFailed (`clone-failed`, `source-refused`), TaskFailedInternally (the disk), Unavailable.
    """
    remote = parse_url(repository).with_token(token)
    connections = Connections()
    limits = limits or SourceLimits()
    watch = Watch(limits.stall_time)
    rules = rules or RepositoryRules(EVERYTHING)
    job = _Fetch(FetchContext(connections, say, progress, limits, watch, rules, ca_file), Selection(submodules))
    watching = asyncio.create_task(watch.interrupt_when_stalled(connections.interrupt))
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
    finally:
        watching.cancel()
    if isinstance(outcome, Commit):
        return outcome
    if isinstance(outcome, Interrupted) and watch.stalled:
        raise stalled(limits)
    raise outcome


def _close(outcome: Commit | Exception) -> None:
    """Closes a commit that is returned after its caller has given up."""
    if isinstance(outcome, Commit):
        outcome.close()


class _Fetch:
    """One fetch. All of it runs in one thread."""

    def __init__(self, context: FetchContext, selection: Selection) -> None:
        self._context, self._selection, self._say = context, selection, context.say
        self._count = 0
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
            self._context.connections.close()
        for mirror in self._mirrors.values():
            mirror.close()
            mirror.discard_incoming()
        return failure

    def _run(self, remote: Remote, ref: str, folder: Path) -> Commit:
        self._say(f"clone: {remote}, {quoted(ref) or 'the default branch'}")
        mirror, found = self._fetch(remote, ref, folder)
        sha = found.sha
        self._say(f"clone: commit {sha}")
        tree = CommitTree(mirror.objects, found.root)
        tree = CommitTree(mirror.objects, found.root, self._submodules(tree, remote, folder / MODULES, ()))
        tree.origin = Origin(sha, str(remote), found.tags)
        self._selection.check()
        if self._selection.all:
            self._remove_unused(folder / MODULES)
        tree.say = self._say
        tree.times = remember(folder, tree, sha)
        return Commit(sha, str(remote), tree, list(self._mirrors.values()))

    def _fetch(self, remote: Remote, ref: str, folder: Path) -> tuple[Mirror, FoundCommit]:
        """Tries a second time with an empty mirror, when the objects in it are corrupt."""
        check_remote(remote, self._context.rules)
        first = folder not in self._mirrors
        if first:
            self._mirrors[folder] = Mirror(folder, str(remote), self._context.limits)
            self._mirrors[folder].objects.spend = lambda _: self._context.connections.check()
        mirror = self._mirrors[folder]
        updater = MirrorUpdater(remote, mirror, self._context)
        used = bool(mirror.tips)
        try:
            return mirror, updater.fetch(ref)
        except Broken:
            if not (first and used):
                raise
        mirror.clear()
        return mirror, updater.fetch(ref)

    def _submodules(
        self, tree: CommitTree, remote: Remote, modules: Path, above: tuple[str, ...]
    ) -> dict[str, CommitTree]:
        """The submodules of a tree by their path in it; `above` are the paths of the submodules that it is in."""
        known = described(tree)
        if not known:
            return {}
        found = {}
        for path, sha in tree.submodule_paths():
            self._count += 1
            if self._count > self._context.limits.submodules:
                raise too_much("the commit", "submodules", self._context.limits)
            whole = (*above, path)
            if self._is_fetched("/".join(whole), known.get(path)):
                found[path] = self._submodule(remote, known[path], whole, sha, modules)
        return found

    def _is_fetched(self, path: str, submodule: Submodule | None) -> bool:
        if not self._selection.includes(path):
            why = "is not among those that the task asks for"
        elif submodule is None:
            why = "has no URL in .gitmodules"
        elif submodule.skipped:
            why = "has `update = none` in .gitmodules"
        else:
            return True
        self._say(f"clone: submodule {quoted(path)} {why} and stays empty")
        return False

    def _submodule(
        self, parent: Remote, submodule: Submodule, path: tuple[str, ...], sha: str, modules: Path
    ) -> CommitTree:
        name = "/".join(path)
        if len(path) > _MAX_NESTED:
            raise clone_failed(f"submodules are nested more than {_MAX_NESTED} deep")
        try:
            remote = parent.submodule(submodule.url)
            self._say(f"clone: submodule {quoted(name)} from {remote}, commit {sha}")
            folder = modules / hashlib.sha256(str(remote).encode()).hexdigest()[:16]
            mirror, commit = self._fetch(remote, sha, folder)
        except (TaskFailed, Unavailable) as error:
            raise failed(name, error) from None
        inner = self._submodules(CommitTree(mirror.objects, commit.root), remote, modules, path)
        tree = CommitTree(mirror.objects, commit.root, inner)
        tree.origin = Origin(commit.sha, str(remote), commit.tags, submodule.name)
        return tree

    def _remove_unused(self, modules: Path) -> None:
        """Removes the mirrors of submodules that the commit does not have."""
        for path in modules.iterdir() if modules.is_dir() else ():
            if path not in self._mirrors:
                shutil.rmtree(path)
