"""A machine without a cloud around it: signals stop its worker, and it adds nothing to the configuration."""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping
from typing import Any, Self

from taskrunner.interfaces.host import Host, Leave
from taskrunner.interfaces.plugin import NoOptions, PluginContext
from taskrunner_standalone.signals import Signals


class StandaloneHost(Host):
    """The host of a worker that was started by hand, by systemd, or in a container.

    The first SIGTERM or SIGINT (Ctrl-C) lets the worker finish its runs. The second of either makes it release them at
    once, and the third kills it, as it would any process. A closed terminal (SIGHUP) releases the runs at once.
    """

    def __init__(self) -> None:
        self._signals = Signals()

    @classmethod
    async def open(cls, options: NoOptions, context: PluginContext) -> Self:  # noqa: ARG003  it needs neither
        return cls()

    @property
    def identity(self) -> Mapping[str, str]:
        return {"host": socket.gethostname(), "os": platform.system().lower(), "arch": platform.machine()}

    def load_config(self) -> Mapping[str, Any]:
        return {}

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
