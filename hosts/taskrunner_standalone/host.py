"""A machine without a cloud around it: a file, variables and flags configure the worker, and signals stop it."""

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
    """The host of a worker that was started by hand, by systemd, or in a container.

    The first SIGTERM or SIGINT (Ctrl-C) lets the worker finish its runs. The second of either makes it release them at
    once, and the third kills it, as it would any process. A closed terminal (SIGHUP) releases the runs at once.
    """

    def __init__(self, config: Path | None = None, flags: Mapping[str, Any] | None = None) -> None:
        """`config` is the file to read, by default the one that applies; `flags` are keys of the configuration from
        the command line, None where it has none."""
        self._config, self._flags = config, flags or {}
        self._signals = Signals()

    @property
    def identity(self) -> Mapping[str, str]:
        return {"host": socket.gethostname(), "os": platform.system().lower(), "arch": platform.machine()}

    def load_config(self) -> Mapping[str, Any]:
        return load_settings(self._config, self._flags)

    def listen(self) -> None:
        """Handles the signals from now on; otherwise the first `shutting_down` does it. Called in the event loop of the
        main thread. Before this call, a signal ends the process without a message."""
        self._signals.listen()

    async def shutting_down(self) -> Leave:
        return await self._signals.notice()

    def should_shutdown_now(self) -> bool:
        return self._signals.count > 0

    async def shut_down(self) -> None:
        """Restores the signal handlers; the machine stays on, since it has other users."""
        self._signals.restore()
