"""Caches and mounts in the folder of a run: links to the ones, copies of the others, each at a path of its own."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.connections import Connections
from taskrunner.errors import Complaint, MalformedPayload, TaskFailed, TaskFailedInternally, local_failure
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.model import Task
from taskrunner_process.accounts.files import take_over
from taskrunner_process.accounts.lease import Accounts
from taskrunner_process.command import TEMPORARY
from taskrunner_process.run_folder import OWN_GRACE, OWN_TIME, PreparedFolder, take_cache

COPY_TIME, COPY_GRACE = 1800.0, 30.0
"""Seconds to copy the content of a mount, and for a cancelled copy to end, which stops at the next file."""

Complain = Callable[[str, str, str], MalformedPayload]
"""Makes the error of a target: the problem, and what to do."""


@attrs.frozen
class Attachments:
    """What one run has got so far."""

    task: Task
    accounts: Accounts
    _links: list[str] = attrs.field(init=False, factory=list)
    _mounts: list[tuple[str, ...]] = attrs.field(init=False, factory=list)

    async def link_cache(self, run: PreparedFolder, cache: CacheFolder, target: str) -> None:
        """A symbolic link at `target` leads to the cache, which is the account's from now on.

        Raises: MalformedPayload, TaskFailedInternally.
        """
        parts = _parts(target, self._cache_complaint)
        try:
            run.make_link(parts, cache.path.absolute())
            if run.account:
                take = partial(take_cache, cache.path, run.account, self.accounts.uids)
                if run.account.sudo:
                    take = partial(take_over, cache.path, run.account, self.accounts.by_sudo)
                await run_blocking(take, limit=OWN_TIME, doing="changing the owner of a cache", grace=OWN_GRACE)
        except OverLimit as error:
            raise TaskFailedInternally(str(error)) from None
        except OSError as error:
            raise _refusal(target, error, self._cache_complaint) or local_failure(
                f"the cache {cache.name} could not be attached: {error}", error
            ) from None
        self._links.append(target)

    async def copy_mount(self, run: PreparedFolder, path: Path, target: str) -> None:
        """A copy without write bits. Raises: MalformedPayload, TaskFailed, TaskFailedInternally."""
        parts, connections = _parts(target, _mount_complaint), Connections()
        if any(parts[: len(other)] == other for other in self._mounts):
            raise _mount_complaint(target, "lies in another mount", "give each of them a path of its own")
        copy = partial(run.make_copy, parts, path, connections.check)
        try:
            await run_blocking(
                copy, limit=COPY_TIME, doing="copying a mount", interrupt=connections.interrupt, grace=COPY_GRACE
            )
        except OverLimit as error:
            raise TaskFailedInternally(str(error)) from None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                problem = f"{target} has paths that are too long for the folder of a process"
                raise TaskFailed("mount-refused", problem) from None
            raise _refusal(target, error, _mount_complaint) or local_failure(
                f"the mount {target} could not be copied: {error.strerror}", error
            ) from None
        self._mounts.append(parts)

    def _cache_complaint(self, target: str, problem: str, fix: str) -> MalformedPayload:
        paths = [cache.path for cache in self.task.caches]
        same = [index for index, path in enumerate(paths) if path == target]
        # Caches are attached in the task's order: of two with the same path, the second is refused.
        index = same[min(self._links.count(target), len(same) - 1)] if same else len(self._links)
        return MalformedPayload(Complaint(f"caches[{index}].path", f"{target!r}: {problem}", fix))


def _mount_complaint(target: str, problem: str, fix: str) -> MalformedPayload:
    return MalformedPayload(Complaint("mounts", f"{target!r}: {problem}", fix))


def _parts(target: str, complaint: Complain) -> tuple[str, ...]:
    """Where the link or the copy goes. Raises MalformedPayload."""
    path = Path(target)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in target:
        raise complaint(target, "does not lie in the run's folder", "give a relative path without `..`")
    if path.parts[0] == TEMPORARY:
        raise complaint(target, f"{TEMPORARY} is the folder for temporary files", "take another one")
    return path.parts


def _refusal(target: str, error: OSError, complaint: Complain) -> MalformedPayload | None:
    """What is wrong with the author's path; None when nothing is."""
    if error.errno == errno.ELOOP:
        return complaint(target, "lies behind a link", "give each of them a path of its own")
    if error.errno in {errno.EEXIST, errno.ENOTDIR}:
        return complaint(target, "something is there already", "give each of them a path of its own")
    return None
