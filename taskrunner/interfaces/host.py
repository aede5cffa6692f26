"""Host: where the worker lives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen
class Leave:
    """The host wants the worker gone."""

    immediate: bool
    """False: take nothing more and finish what runs. True: hand back what runs, now."""
    why: str
    """For the log: `SIGTERM`, `spot interruption at 12:03`."""
    time_left: float | None = None
    """Seconds until the machine is gone, if the host knows."""


class Host(ABC):
    """Gives a worker its configuration and identity, and says when it must go.

    Found by its entry point (group `taskrunner.hosts`). Used by one worker, from its event loop.
    """

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, str]:
        """Who this machine is, for labels and logs: at least `host`."""

    @abstractmethod
    def load_config(self) -> Mapping[str, Any]:
        """The worker's configuration from wherever this host keeps it, as a nested mapping. Called once, at boot.

        Raises: ConfigError.
        """

    @abstractmethod
    async def shutting_down(self) -> Leave:
        """Waits for the next notice that the worker must go. Called again after each; a later one may only be more
        urgent. Cancelling it loses no notice. Raises nothing."""

    def should_shutdown_now(self) -> bool:
        """Whether the notice came already: asked before each claim. Answers at once."""
        return False

    async def shut_down(self) -> None:
        """The worker has stopped: turn the machine off, if that is what this host does. Raises nothing."""
