"""The times of a worker, by the loop's clock: since when it runs and is in its state, and when its pause ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import attrs


def _now() -> float:
    return asyncio.get_running_loop().time()


@attrs.define
class Times:
    """Since when a worker runs, and is in its state. Made when it starts."""

    started: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    """Time of day, UTC."""
    _began: float = attrs.field(init=False, factory=_now)
    _moved: float = attrs.field(init=False, factory=_now)

    def moved(self) -> None:
        """The worker entered another state."""
        self._moved = _now()

    @property
    def age(self) -> float:
        return _now() - self._began

    @property
    def state_age(self) -> float:
        return _now() - self._moved


@attrs.define
class PauseTimer:
    """Calls `end` when the time of a pause is over. The last call decides."""

    end: Callable[[], None]
    _timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float | None) -> None:
        """The pause ends after these seconds, or by itself never."""
        self.clear()
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._over)

    def clear(self) -> None:
        """The pause has ended."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    @property
    def left(self) -> float | None:
        """Seconds until the end of the pause; None: it has none."""
        return max(0.0, self._timer.when() - _now()) if self._timer else None

    def _over(self) -> None:
        self._timer = None
        self.end()
