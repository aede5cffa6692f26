"""Files of an account that the worker becomes by sudo: it is not root, and can give no file away.

The worker is in the group of the account: each opens its folders to the other by that. What the worker has made the
account copies, so that it owns it; the account also makes readable what the worker is to read, and removes what the
worker may not. As it does all of this itself, no link that a task has put there leads to more than the task can reach
anyway. The folder of a cache stays the worker's, with the account's files in it.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from taskrunner.errors import TaskFailedInternally
from taskrunner.files.untrusted import remove_folder, walk
from taskrunner_process.accounts.account import Account

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

SHARED = 0o2770
"""What the account makes in such a folder has its group, whatever its own group is."""

READABLE = 0o755
"""Of what the account copies, behind a folder that is closed to others."""

PASSABLE = 0o2775
"""Of a folder within such a one, while two accounts use it."""

FILES_TIME = 600.0
"""Seconds for a million files."""

COPY = """cd "$1" && find "$2" -mindepth 1 -maxdepth 1 -exec sh -c 'cp -R -P -p -- "$@" .' sh {} +"""

MOVE = 'find . -mindepth 1 -maxdepth 1 -user "$(id -u)" -exec mv -- {} "./$2/" ";"'

OPEN = 'cd "$1" && chmod -R u+rwX,go+rX . 2>/dev/null || true'

EMPTY = """
cd "$1" || exit 0
chmod -R u+rwX .
find . -xdev -depth -mindepth 1 -delete
chmod 2770 . || true
"""
"""What is not the account's stays, and is the worker's to remove: also the folder itself, which is open to it again."""


def share(folder: Path, account: Account) -> None:
    """Opens a folder of the worker to the group of an account. Raises OSError."""
    with opened(folder) as top:
        account.take(top)
        os.fchmod(top, SHARED)


def hand_over(folder: Path, account: Account, *, keep: Sequence[str] = ()) -> None:
    """Makes everything in a folder the account's, but for names that stay the worker's. Nobody else is in it. Blocks.

    Raises: OSError, TaskFailedInternally.
    """
    stage = f".handed-over-{secrets.token_hex(8)}"
    open_to_all(folder, keep)
    with opened(folder) as top:
        names = [name for name in os.listdir(top) if name not in keep]  # noqa: PTH208  it is open
        os.mkdir(stage, dir_fd=top)
        os.chmod(stage, READABLE, dir_fd=top)
        for name in names:
            os.rename(name, f"{stage}/{name}", src_dir_fd=top, dst_dir_fd=top)
    share(folder, account)
    if names:
        _as(account, COPY, folder, stage)
    if problems := remove_folder(folder / stage):
        raise TaskFailedInternally("\n".join(problems))


def open_to_all(folder: Path, kept: Sequence[str] = ()) -> None:
    """What is the worker's own becomes readable, behind a folder that is closed. Raises OSError."""
    for found in walk(folder):
        mode = stat.S_IMODE(found.status.st_mode)
        wanted = mode | (0o055 if mode & stat.S_IXUSR else 0o044)
        ours = found.status.st_uid == os.geteuid() and found.name.partition("/")[0] not in kept
        if ours and mode != wanted and not stat.S_ISLNK(found.status.st_mode):
            (folder / found.name).chmod(wanted)


def take_over(folder: Path, account: Account, former: Iterable[Account]) -> None:
    """Makes everything in a cache the account's, also what is the worker's or another's. Nobody uses it. Blocks.

    Raises: OSError, TaskFailedInternally.
    """
    account.open_path(folder)
    with os.scandir(folder) as entries:
        owners = {entry.name: entry.stat(follow_symlinks=False).st_uid for entry in entries}
    others = set(owners.values()) - {account.uid, os.geteuid()}
    known = [each for each in former if each.uid in others]
    if unknown := others - {each.uid for each in known}:
        raise TaskFailedInternally(f"{folder} has files of the users {unknown}, which the worker cannot become")
    for each in known:
        _take_from(folder, each, account)
    if os.geteuid() in owners.values():
        hand_over(folder, account, keep=[name for name, owner in owners.items() if owner != os.geteuid()])
    share(folder, account)


def _take_from(folder: Path, owner: Account, account: Account) -> None:
    """One copies what the other has made readable; in between, the name of the stage is known to nobody else."""
    stage = folder / f".former-{secrets.token_hex(8)}"
    stage.mkdir()
    share(folder, owner)
    share(stage, owner)
    _as(owner, f"{OPEN}; {MOVE}", folder, stage.name)
    share(folder, account)
    stage.chmod(PASSABLE)
    _as(account, COPY, folder, stage.name)
    share(folder, owner)
    empty(stage, owner)
    if problems := remove_folder(stage):
        raise TaskFailedInternally("\n".join(problems))


def open_to_worker(folder: Path, account: Account) -> None:
    """Makes what the account has in a folder readable for those who reach the folder: the worker, and no other user.
    Blocks. Raises TaskFailedInternally."""
    _as(account, OPEN, folder)


def empty(folder: Path, account: Account) -> None:
    """Removes what an account has in a folder, if it has one. The rest is the worker's. Blocks.

    Raises: TaskFailedInternally.
    """
    _as(account, EMPTY, folder)


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _as(account: Account, script: str, *arguments: str | Path) -> None:
    assert account.sudo  # noqa: S101  for mypy: the caller has looked
    account.sudo.run(script, FILES_TIME, *arguments)
