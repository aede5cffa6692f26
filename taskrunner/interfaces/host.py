"""Host: the machine or service that a worker runs on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import attrs

from taskrunner.interfaces.plugin import Plugin


@attrs.frozen
class Leave:
    """A notice of the host that the worker must stop."""

    immediate: bool
    """False: claim nothing more and finish the runs. True: hand the runs back now."""
    why: str
    """For the log: `SIGTERM`, `spot interruption at 12:03`."""
    time_left: float | None = None
    """Seconds until the machine stops, if the host knows."""


class Host(Plugin):
    """Gives a worker its configuration and identity, and notifies it when it must stop.

    Found by its entry point (group `taskrunner.hosts`), chosen by `host` in the configuration, and opened by
    `open(options, context)`. Used by one worker, from its event loop. Each verb of the command line opens it for its
    configuration alone, and closes nothing: what needs closing begins with the first `shutting_down`.
    """

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, str]:
        """Labels of this machine, for logs: at least `host`. Shown to the authors of tasks. Returns at once."""

    @abstractmethod
    def load_config(self) -> Mapping[str, Any]:
        """The worker's configuration from where this host keeps it, as a nested mapping: keys as in the file, which win
        over the file; variables and flags win over them. Every key but `host`, which has been chosen by then. Called
        once, in a thread, with a limit of 60 seconds.

        Raises: ConfigError, Unavailable.
        """

    @abstractmethod
    async def shutting_down(self) -> Leave:
        """Waits for the next notice that the worker must stop. Called again after each; a later one may only be more
        urgent, and the same one again changes nothing. Cancelling the call loses no notice. Raises nothing."""

    def should_shutdown_now(self) -> bool:
        """Whether a notice has arrived, also one that `shutting_down` has returned. Called before each claim; never
        blocks. By default the worker learns of notices from `shutting_down` alone."""
        return False

    async def shut_down(self) -> None:
        """Called when the worker has stopped: turns the machine off, if this host does that. Raises nothing."""
