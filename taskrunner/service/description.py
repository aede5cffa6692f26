"""What a service manager must know of a worker, whichever manager it is."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import attrs

from taskrunner.errors import ConfigError

STOP_TIMEOUT = 660.0
"""Seconds from the first signal until a worker is killed, when its configuration does not say: ten minutes for its
runs, and a minute to hand back what is left."""

WATCHDOG = 60
"""Seconds without a heartbeat until a worker counts as wedged. A blocked loop renews no claim either, and the default
lease lasts as long."""

RESTART_DELAY = 10
"""Seconds until a worker that has failed is started again: what it needs may be back by then."""

SYSTEM_CONFIG = Path("/etc/taskrunner/taskrunner.toml")
SYSTEM_SECRETS = Path("/etc/taskrunner/secrets.env")
SYSTEM_HOME = Path("/var/lib")
"""The folder in which systemd makes one for each service."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?")


def _name(_: object, __: object, value: str) -> None:
    if not _NAME.fullmatch(value):
        raise ConfigError(f"--name: {value!r} is no name of a service: use up to 64 letters, digits, `_` and `-`")


def _account(_: object, field: attrs.Attribute[str], value: str) -> None:
    if value and not _ACCOUNT.fullmatch(value):
        raise ConfigError(f"--{field.name.replace('_', '-')}: {value!r} is no name of an account")


def _path(_: object, field: attrs.Attribute[Path | None], value: Path | None) -> None:
    if value is not None and (not value.is_absolute() or not str(value).isprintable()):
        raise ConfigError(f"--{field.name}: {str(value)!r} is no full path: begin it with /")


@attrs.frozen
class ServiceDescription:
    """A worker as a service. Raises ConfigError for a name or a path that no unit can have."""

    command: tuple[str, ...]
    """What starts `taskrunner`, with full paths."""
    name: str = attrs.field(default="taskrunner", validator=_name)
    user_service: bool = False
    """Whether it belongs to the user who installs it, and not to the machine."""
    run_as: str = attrs.field(default="", validator=_account)
    """The account of a service of the machine."""
    group: str = attrs.field(default="", validator=_account)
    """One more group of that account: the one that may use Docker."""
    config: Path | None = attrs.field(default=None, validator=_path)
    home: Path | None = attrs.field(default=None, validator=_path)
    """None: the usual home of the user."""
    stop_timeout: float = STOP_TIMEOUT

    @property
    def run(self) -> tuple[str, ...]:
        """The command of the worker."""
        return (*self.command, "run", *(("--config", str(self.config)) if self.config else ()))

    @property
    def environment(self) -> dict[str, str]:
        """The worker is told the limit by which it is killed, so that both have one number."""
        home = {"TASKRUNNER_HOME": str(self.home)} if self.home else {}
        return {**home, "TASKRUNNER_STOP_TIMEOUT": f"{self.stop_timeout:g}"}


def this_command() -> tuple[str, ...]:
    """What starts the `taskrunner` of this Python. Symbolic links stay: they lead to the next version too."""
    beside = Path(sys.executable).with_name("taskrunner")
    return (str(beside),) if os.access(beside, os.X_OK) else (sys.executable, "-m", "taskrunner")
