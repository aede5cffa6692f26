"""The user account that runs belong to, when it is not the worker's own."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Any

import attrs

from taskrunner.errors import ConfigError


@attrs.frozen
class Account:
    """A user, with all groups that it is in."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def popen_options(self) -> dict[str, Any]:
        """What makes `subprocess.Popen` run something as this user. Nothing for the worker's own: only root may set
        groups, even to what they are."""
        if os.geteuid() == self.uid:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": list(self.groups)}

    def take_ownership(self, *paths: Path) -> None:
        """Makes it the owner of these files or folders, not of what is in them. Raises OSError."""
        for path in paths:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def first_closed(self, folder: Path) -> Path | None:
        """The first folder on the path to this one, itself included, that the account may not enter."""
        existing = [path for path in (*reversed(folder.parents), folder) if path.exists()]
        return next((path for path in existing if not self._may_enter(path.stat())), None)

    def open_path(self, folder: Path) -> None:
        """Lets it enter, though not list, the worker's own folders on the path. Those above the worker's home it may
        enter already: the platform checks that when it is opened. Raises OSError.
        """
        while closed := self.first_closed(folder.absolute()):
            closed.chmod(stat.S_IMODE(closed.stat().st_mode) | stat.S_IXOTH | stat.S_IXGRP | stat.S_IXUSR)

    def _may_enter(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid in (self.gid, *self.groups):
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def account_of(user: str, home: Path) -> Account:
    """The account that `[process] user` names. Raises ConfigError when it cannot be used."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"[process] user: this machine has no user {user!r}; create it, or name another") from None
    if os.geteuid() != 0 and entry.pw_uid != os.geteuid():
        raise ConfigError(
            f"[process] user: only root can run tasks as {user!r}; start the worker as root, or leave it empty"
        )
    account = Account(user, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(user, entry.pw_gid)))
    if closed := account.first_closed(home.absolute()):
        raise ConfigError(
            f"[process] user: {user!r} may not pass {closed} on the way to its runs in {home}; "
            f"`chmod o+x {closed}`, or keep the worker's home elsewhere"
        )
    return account
