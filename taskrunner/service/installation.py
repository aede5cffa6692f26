"""Where the file of a service belongs, and what its service manager is told when the file comes and goes."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from taskrunner.errors import ConfigError
from taskrunner.service.description import ServiceDescription
from taskrunner.service.launchd_plist import launchd_plist
from taskrunner.service.systemd_unit import systemd_unit

BOOTED = Path("/run/systemd/system")
"""Exists where systemd runs (sd_booted(3)); elsewhere, such as in the build of an image, a unit is only enabled."""

Command = tuple[str, ...]


def _folder(_: object, __: object, value: Path | None) -> None:
    if value is not None and not value.is_dir():
        raise ConfigError(f"--root: there is no folder {value}")


@attrs.frozen
class Installation:
    """A service in its place. Raises ConfigError for a root that does not exist, or with a user's service."""

    service: ServiceDescription
    launchd: bool = False
    root: Path | None = attrs.field(default=None, validator=_folder)
    """The root of another system, which does not run: the image of a machine."""

    def __attrs_post_init__(self) -> None:
        if self.root and self.service.user_service:
            raise ConfigError("--root: goes with a service of the machine, not with --user")

    @property
    def text(self) -> str:
        return launchd_plist(self.service) if self.launchd else systemd_unit(self.service)

    @property
    def path(self) -> Path:
        name = f"{self.service.name}.plist" if self.launchd else f"{self.service.name}.service"
        return self._folder / name

    @property
    def _folder(self) -> Path:
        if self.service.user_service:
            config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
            return Path.home() / "Library/LaunchAgents" if self.launchd else config / "systemd/user"
        return (self.root or Path("/")) / ("Library/LaunchDaemons" if self.launchd else "etc/systemd/system")

    @property
    def _runs(self) -> bool:
        """Whether the service manager runs that is to be told."""
        return self.root is None and (self.launchd or BOOTED.is_dir())

    def after_writing(self, *, new: bool) -> list[Command]:
        """What is called when the file was written. A worker that runs with an older file is not restarted: that would
        end its runs, and its operator chooses when."""
        if self.launchd:
            return [("launchctl", "bootstrap", self._domain, str(self.path))] if new and self._runs else []
        if not self._runs:
            return [self._systemctl("enable", self.path.name)]
        enable = ("enable", "--now") if new else ("enable",)
        return [self._systemctl("daemon-reload"), self._systemctl(*enable, self.path.name)]

    def before_removing(self) -> list[Command]:
        """What is called while the file is still there. Returns when the worker has stopped."""
        if self.launchd:
            return [("launchctl", "bootout", f"{self._domain}/{self.service.name}")] if self._runs else []
        now = ("--now",) if self._runs else ()
        return [self._systemctl("disable", *now, self.path.name)]

    def after_removing(self) -> list[Command]:
        """What is called when the file is gone."""
        return [self._systemctl("daemon-reload")] if self._runs and not self.launchd else []

    @property
    def _domain(self) -> str:
        return f"gui/{os.getuid()}" if self.service.user_service else "system"

    def _systemctl(self, *arguments: str) -> Command:
        user = ("--user",) if self.service.user_service else ()
        root = (f"--root={self.root}",) if self.root else ()
        return ("systemctl", *user, *root, *arguments)
