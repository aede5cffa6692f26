"""The user accounts that runs belong to, when these are not the worker's own."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from taskrunner.errors import ConfigError, TaskFailedInternally
from taskrunner_process.sudo import RULE, Sudo, find_sudo

CHECK_TIME = 30.0
"""Seconds for sudo to say whether it lets the worker start something."""


@attrs.frozen
class Account:
    """A user, with all groups that it is in."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    sudo: Sudo | None = None
    """How a worker that is not root becomes this user."""

    @property
    def popen_options(self) -> dict[str, Any]:
        """What makes `subprocess.Popen` run something as this user. Nothing for the worker's own: only root may set
        groups, even to what they are."""
        if self.sudo or os.geteuid() == self.uid:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": list(self.groups)}

    def take(self, descriptor: int) -> None:
        """Makes it the owner of an open file or folder, not of what is in it. A worker that is not root can only give
        it to the group. Raises OSError."""
        os.fchown(descriptor, -1 if self.sudo else self.uid, self.gid)

    def first_closed(self, folder: Path) -> Path | None:
        """The first folder on the path to this one, itself included, that the account may not enter."""
        existing = [path for path in (*reversed(folder.parents), folder) if path.exists()]
        return next((path for path in existing if not self._may_enter(path.stat())), None)

    def open_path(self, folder: Path, *, alone: bool = False) -> None:
        """Lets it enter, though not list, the worker's own folders on the path to a folder. Those above the worker's
        home it may enter already: the platform checks that when it is opened. With `alone`, the last of them is for
        this account: others stay out, also when the account opens its own folder to everybody. Raises OSError.
        """
        above = folder.absolute().parent
        while closed := self.first_closed(above):
            mode = stat.S_IMODE(closed.stat().st_mode) | stat.S_IXGRP | stat.S_IXUSR
            if alone and closed == above:
                os.chown(closed, -1, self.gid, follow_symlinks=False)
                closed.chmod(mode & ~stat.S_IRWXO)
            else:
                closed.chmod(mode | stat.S_IXOTH)

    def _may_enter(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid in (self.gid, *self.groups):
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def account_of(user: str, home: Path, key: str = "user", group: str = "") -> Account:
    """The account that `[process]` names under this key, with its own group or another one. Raises ConfigError when it
    cannot be used."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(
            f"`{key}` in [process]: this machine has no user {user!r}; create it, or name another"
        ) from None
    gid = _group_of(group) if group else entry.pw_gid
    sudo = _sudo_of(entry, gid, key) if os.geteuid() not in {0, entry.pw_uid} else None
    account = Account(user, entry.pw_uid, gid, tuple(os.getgrouplist(user, gid)), sudo)
    if closed := account.first_closed(home.absolute()):
        raise ConfigError(
            f"`{key}` in [process]: {user!r} may not pass {closed} on the way to its runs in {home}; "
            f"`chmod o+x {closed}`, or keep the worker's home elsewhere"
        )
    return account


def _group_of(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(
            f"`group` in [process]: this machine has no group {name!r}; create it, or name another"
        ) from None


def _sudo_of(entry: pwd.struct_passwd, gid: int, key: str) -> Sudo:
    """Tries it. Raises ConfigError with what the operator has to do."""
    worker, user, group = _user_name(os.geteuid()), entry.pw_name, _group_name(gid)
    begin = f"`{key}` in [process]: only root can run tasks as {user!r}, or a worker with"
    if gid not in {os.getegid(), *os.getgroups()}:
        raise ConfigError(
            f"{begin} sudo that is in its group: `usermod -aG {group} {worker}` and start the worker again, start it "
            "as root, or leave it empty"
        )
    if not (program := find_sudo()):
        raise ConfigError(f"{begin} sudo; install it, start the worker as root, or leave it empty")
    sudo = Sudo(program, user, group)
    rule = RULE.format(worker=worker, user=user, group=group)
    try:
        problem = "" if sudo.replaces_itself(CHECK_TIME) else "it waits for what it starts, and does not replace itself"
    except (OSError, TaskFailedInternally) as error:
        problem = str(error)
    if problem:
        raise ConfigError(f"{begin} sudo and this rule in /etc/sudoers.d/taskrunner ({problem}):\n{rule}")
    return sudo


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"#{gid}"


def accounts_of(users: Sequence[str], home: Path) -> tuple[Account, ...]:
    """The accounts that `[process] users` names, of which each run gets one. Raises ConfigError."""
    accounts = tuple(account_of(user, home, "users") for user in users)
    for index, account in enumerate(accounts):
        if account.uid in {0, os.geteuid()}:
            raise ConfigError(f"`users` in [process]: what runs as {account.name!r} would be killed; name another user")
        if account.uid in {other.uid for other in accounts[:index]}:
            raise ConfigError(f"`users` in [process]: {account.name!r} is there twice, by its name or its number")
    return accounts
