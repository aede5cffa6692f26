"""`[retention]`: how long a home keeps what is over."""

from __future__ import annotations

from typing import Any

import attrs
from attrs.validators import and_, ge, le, optional

MAX_DAYS = 36500.0
"""A hundred years, so that every limit is a date."""


def _days() -> Any:
    return attrs.field(default=None, validator=optional(and_(ge(0.0), le(MAX_DAYS))), metadata={"unit": "days"})


def _size() -> Any:
    return attrs.field(default=None, validator=optional(ge(0)))


@attrs.frozen
class Retention:
    """What is over is removed after this time, or when all of it together is larger. None: it is kept."""

    run_days: float | None = _days()
    """Logs and artifacts of a run: days since its end."""
    run_bytes: int | None = _size()
    """The same: bytes of all runs together. The runs that ended first go first."""
    task_days: float | None = _days()
    """Tasks in the queue, and the states of their runs: days since the end. Their logs and artifacts go with them."""
    cache_days: float | None = _days()
    """Caches of tasks, and mirrors of repositories: days since the last use."""
    cache_bytes: int | None = _size()
    """The same, for each platform, and for all mirrors: bytes together. The least recently used go first."""
