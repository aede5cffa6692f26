"""A machine of one's own: configured by a file, variables and flags, and told to leave by signals."""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskrunner.config.config import load_settings
from taskrunner.interfaces.host import Host, Leave
from taskrunner_standalone.signals import Signals


class StandaloneHost(Host):
    """A worker that somebody started on a machine: by hand, by systemd, in a container.

    The first SIGTERM or SIGINT (Ctrl-C) lets it finish what runs, the second of either makes it hand that back at once,
    and the third kills it, as it would any process. A closed terminal (SIGHUP) hands back at once.
    """

    def __init__(self, config: Path | None = None, flags: Mapping[str, Any] | None = None) -> None:
        """`config` is the file to read, by default the one that applies; `flags` are keys of the configuration that
        the command line gave, None where it gave none."""
        self._config, self._flags = config, flags or {}
        self._signals = Signals()

    @property
    def identity(self) -> Mapping[str, str]:
        return {"host": socket.gethostname(), "os": platform.system().lower(), "arch": platform.machine()}

    def load_config(self) -> Mapping[str, Any]:
        return load_settings(self._config, self._flags)

    def listen(self) -> None:
        """Takes the signals from now on, which the first `shutting_down` does otherwise. Called in the event loop of
        the main thread: before it, a signal ends the process without a word."""
        self._signals.listen()

    async def shutting_down(self) -> Leave:
        return await self._signals.notice()

    def should_shutdown_now(self) -> bool:
        return self._signals.count > 0

    async def shut_down(self) -> None:
        """Gives the signals back; the machine stays on, since others use it too."""
        self._signals.restore()
