"""GivenFolders: the folders of runs that the worker has given to an account by sudo.

The account makes the folder anew, and copies what the worker has made: git, for instance, trusts nothing in a folder of
another user. Both have a place in the home for that, `process-folders/OWNER/RUN`, which stays until the account has
removed its files: so a later worker of the home can have them removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from taskrunner.errors import TaskFailedInternally
from taskrunner.files.untrusted import remove_folder
from taskrunner_process.accounts.account import Account
from taskrunner_process.accounts.files import FILES_TIME, READABLE, empty, open_to_all, share
from taskrunner_process.groups.cgroup_files import kernel_name

FOLDER = "process-folders"

TARGET, MADE, GIVEN = "folder", "made", "given"
"""In the place of a run: a link to its folder, what the worker has made, and the account's copy."""

COPY = """
cd "$1"
mkdir given
chmod 2770 given
cd made
find . -mindepth 1 -maxdepth 1 -exec sh -c 'cp -R -P -p -- "$@" ../given' sh {} +
"""
"""The folder has the group of its place, which is the account's. The worker is in it, and moves the folder."""


@attrs.frozen
class GivenFolders:
    """Those of one worker. Its methods block."""

    home: Path
    owner: str

    @property
    def _all(self) -> Path:
        return self.home / FOLDER / kernel_name(self.owner)

    def _place(self, run: str) -> Path:
        return self._all / kernel_name(run)

    def give(self, run: str, folder: Path, account: Account, keep: Sequence[str] = ()) -> None:
        """Makes a folder the account's, with all that is in it but for names that stay the worker's. Nobody else is in
        it. Raises: OSError, TaskFailedInternally."""
        assert account.sudo  # noqa: S101  for mypy: the caller has looked
        place = self._place(run)
        place.mkdir(parents=True)
        (place / TARGET).symlink_to(folder.absolute())
        open_to_all(folder)
        folder.rename(place / MADE)
        (place / MADE).chmod(READABLE)
        kept = [name for name in keep if (place / MADE / name).exists()]
        for name in kept:
            (place / MADE / name).rename(place / name)
        account.open_path(place)
        share(place, account)
        account.sudo.run(f"set -e; {COPY}", FILES_TIME, place)
        for name in kept:
            (place / name).rename(place / GIVEN / name)
        (place / GIVEN).rename(folder)
        place.chmod(0o700)
        _remove(place / MADE)
        account.open_path(folder, alone=True)

    def forget(self, run: str) -> None:
        """Nothing of the account is left. May be called again. Raises TaskFailedInternally."""
        _remove(self._place(run))
        with suppress(OSError):  # other runs have one, or there never was one
            self._all.rmdir()

    def empty(self, accounts: Sequence[Account], run: str = "") -> None:
        """Has the accounts remove what they have in the folder of one run, or of all. Raises: OSError,
        TaskFailedInternally."""
        for place in [self._place(run)] if run else self._places():
            with suppress(FileNotFoundError):
                target = (place / TARGET).readlink()
                for account in accounts:
                    share(place, account)
                    for folder in (place / GIVEN, target):
                        empty(folder, account)
                _remove(place)
        with suppress(OSError):
            self._all.rmdir()

    def _places(self) -> Iterable[Path]:
        with suppress(FileNotFoundError):
            return list(self._all.iterdir())
        return []


def _remove(folder: Path) -> None:
    if problems := remove_folder(folder):
        raise TaskFailedInternally("\n".join(problems))
