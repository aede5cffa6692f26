"""Launcher: starts and ends the commands of one run, with what they have in common."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailed, TaskFailedInternally, local_failure
from taskrunner.files.mounts import MountChanges, mounts_below, unmount_below
from taskrunner.interfaces.platform import RunContext
from taskrunner.proxies.run_proxies import RunProxies
from taskrunner_process.accounts.account import Account
from taskrunner_process.accounts.files import FILES_TIME, empty, open_to_worker
from taskrunner_process.accounts.given_folders import GivenFolders
from taskrunner_process.accounts.lease import AccountLease
from taskrunner_process.child import Child, Start, spawn
from taskrunner_process.command import check_variables, find_command
from taskrunner_process.groups.process_group import KILL_TIME, MARKER, UNLIMITED, ProcessGroup, ProcessGroups
from taskrunner_process.groups.run_limit import RunLimit
from taskrunner_process.run_folder import give_back

SPAWN_TIME = 30.0
"""Seconds to start a process, which takes about one millisecond; longer means that the program's disk hangs."""

UNMOUNT_TIME = 60.0
"""Seconds to unmount what a run has mounted: it is taken out of sight at once, whatever uses it."""

CHANGES = MountChanges()


@attrs.frozen
class Launcher:
    """Starts and ends processes for one run."""

    context: RunContext
    groups: ProcessGroups
    lease: AccountLease
    given: GivenFolders
    """For an account by sudo."""
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    caches: tuple[Path, ...] = ()
    """The folders of attached caches."""
    limit: RunLimit = UNLIMITED
    """What all commands together may use."""
    proxies: RunProxies = attrs.Factory(lambda launcher: RunProxies(launcher.context.log.say), takes_self=True)
    mounts: int = attrs.field(factory=CHANGES.count)
    """How often the mounts of this machine had changed before the run."""

    @property
    def account(self) -> Account | None:
        return self.lease.account

    def find(self, command: Sequence[str], folder: Path | None = None) -> list[str]:
        """As `find_command`, in the run's folder or another one, with the run's PATH."""
        return find_command(command, folder or self.context.folder, self.env["PATH"])

    def environment(self, added: Mapping[str, str]) -> dict[str, str]:
        """The run's environment with more variables. Raises MalformedPayload."""
        check_variables(added)
        return {**self.env, **added, MARKER: self.env[MARKER]}

    def folder(self, working_dir: str) -> Path:
        """A folder, seen from the run's own. Raises TaskFailed."""
        place = self.context.folder / working_dir
        try:
            if place.is_dir():
                return place
        except OSError:
            """Its name is too long for the disk."""
        raise TaskFailed("working-dir-missing", f"there is no folder {working_dir!r} in the run's folder")

    async def launch(self, start: Start, name: str) -> tuple[Child, ProcessGroup]:
        """Starts one more command, whose `name` is unique within the run. Closes the descriptors of `start`. After an
        error nothing of it is left.

        Raises: TaskFailed, TaskFailedInternally.
        """
        try:
            group = self.groups.open_group(f"{self.context.run}{name}", self.limit)
        except OSError as error:
            start.close()
            raise local_failure(f"no process group could be made: {error}", error) from None
        starting = asyncio.create_task(self._spawn(_marked(start, name), group))
        try:
            return await asyncio.shield(starting), group
        except asyncio.CancelledError:
            await asyncio.shield(self._undo(starting, group))
            raise
        except (TaskFailed, TaskFailedInternally):
            await self.end(group)
            group.close()
            raise

    async def _undo(self, starting: asyncio.Task[Child], group: ProcessGroup) -> None:
        """Waits until the process has started, which takes about a millisecond, and ends it."""
        (outcome,) = await asyncio.gather(starting, return_exceptions=True)
        await self.end(group)
        group.close()
        if isinstance(outcome, Child):
            await outcome.wait()

    async def _spawn(self, start: Start, group: ProcessGroup) -> Child:
        process = await run_blocking(
            partial(spawn, start, group),
            limit=SPAWN_TIME,
            doing="starting a process",
            discard=partial(_end_late, group),
            error=TaskFailedInternally,
        )
        return Child(process, group)

    async def unmount(self) -> None:
        """Unmounts what the run has mounted in its folder or in a cache, and says so in its log. Called when nothing of
        it is alive.

        Raises: TaskFailedInternally.
        """
        if CHANGES.count() == self.mounts:
            return
        for folder in (self.context.folder, *self.caches):
            try:
                if mounts_below(folder):
                    for line in await run_blocking(
                        partial(unmount_below, folder),
                        limit=UNMOUNT_TIME,
                        doing="unmounting",
                        error=TaskFailedInternally,
                    ):
                        self.context.log.say(line)
            except OSError as error:
                raise local_failure(f"the mounts of this machine cannot be read: {error.strerror}", error) from error

    async def open_folder(self) -> None:
        """Makes what the run has left readable for the worker. Nothing of it is alive. Raises TaskFailedInternally."""
        if self.account and self.account.sudo:
            await self._as_account(partial(open_to_worker, self.context.folder, self.account), "opening a run's folder")

    async def empty_folder(self) -> None:
        """Removes what the worker may not remove. Nothing of the run is alive. Raises TaskFailedInternally."""
        if self.account and self.account.sudo:
            await self._as_account(partial(self._empty, self.account), "emptying a run's folder")

    def _empty(self, account: Account) -> None:
        empty(self.context.folder, account)
        self.given.forget(str(self.context.run))

    async def _as_account(self, work: Callable[[], None], doing: str) -> None:
        await run_blocking(work, limit=FILES_TIME, doing=doing, error=TaskFailedInternally)

    async def release(self) -> None:
        """The run is over: its account may be another's, and has no way into the caches any more. A second call does
        nothing. Raises TaskFailedInternally."""
        await self.proxies.close()
        await self.lease.release()
        try:
            for folder in self.caches if self.account else ():
                give_back(folder)
        except OSError as error:
            raise local_failure(f"a cache could not be closed to the account: {error.strerror}", error) from error

    async def end(self, *groups: ProcessGroup) -> None:
        """Kills everything alive in these groups. Raises TaskFailedInternally with a line for each group that stays."""
        alive = [group for group in groups if not group.known_empty()]
        if not alive:
            return
        outcomes = await asyncio.gather(*(_end_group(group) for group in alive), return_exceptions=True)
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if errors:
            raise TaskFailedInternally("\n".join(map(str, errors)))


def _marked(start: Start, name: str) -> Start:
    """Gives the command the marker of its own group, by which a search tells it from the other commands of the run."""
    run, _, worker_id = start.env[MARKER].rpartition("@")
    return attrs.evolve(start, env={**start.env, MARKER: f"{run}{name}@{worker_id}"}) if name else start


async def _end_group(group: ProcessGroup) -> None:
    await run_blocking(
        group.end, limit=2 * KILL_TIME, doing="killing what the run has started", error=TaskFailedInternally
    )


def _end_late(group: ProcessGroup, process: subprocess.Popen[bytes]) -> None:
    """Ends a process that has started after its limit, when its run has already failed."""
    group.end()
    process.wait()
    group.close()
