"""Host: the machine or service that a worker runs on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen
class Leave:
    """A notice of the host that the worker must stop."""

    immediate: bool
    """False: claim nothing more and finish the runs. True: hand the runs back now."""
    why: str
    """For the log: `SIGTERM`, `spot interruption at 12:03`."""
    time_left: float | None = None
    """Seconds until the machine stops, if the host knows."""


class Host(ABC):
    """Gives a worker its configuration and identity, and notifies it when it must stop.

    Found by its entry point (group `taskrunner.hosts`). Used by one worker, from its event loop.
    """

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, str]:
        """Labels of this machine, for logs: at least `host`."""

    @abstractmethod
    def load_config(self) -> Mapping[str, Any]:
        """The worker's configuration from where this host keeps it, as a nested mapping. Called once, at boot.

        Raises: ConfigError.
        """

    @abstractmethod
    async def shutting_down(self) -> Leave:
        """Waits for the next notice that the worker must stop. Called again after each; a later one may only be more
        urgent. Cancelling the call loses no notice. Raises nothing."""

    def should_shutdown_now(self) -> bool:
        """Whether a notice has arrived. Called before each claim; never blocks."""
        return False

    async def shut_down(self) -> None:
        """Called when the worker has stopped: turns the machine off, if this host does that. Raises nothing."""
