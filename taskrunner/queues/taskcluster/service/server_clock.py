"""How long a lease still is: `takenUntil` is a time of the queue's clock, and the worker's clock may be another.

Each answer says by its header `Date` what the queue's clock was. A lease that began with a request is counted from the
sending of the request, which errs on the safe side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import attrs

ANSWER_TIME = 5.0
"""Seconds that an answer takes on its way at the most. A claim waits for up to 20 s at the queue: counted from the
sending of its request, a lease would be shorter by the wait."""

LONGEST_WAIT = 60.0
"""Seconds that a queue may ask for by `Retry-After`: a longer one would let leases end."""

_RESOLUTION = 1.0
"""Seconds: a `Date` has no fractions."""


@attrs.define
class TimedAnswer:
    """One request and its answer, on the loop's clock and on the queue's."""

    sent: float
    received: float = 0.0
    date: datetime | None = None
    """The queue's clock when it answered."""
    retry_after: float | None = None
    """Seconds after which the queue wants to be asked again, if it says so."""

    def valid_until(self, taken_until: datetime) -> float:
        """When a lease of this answer ends, on the loop's clock; never after it ends by the queue's."""
        date = self.date or datetime.now(UTC)
        left = (taken_until - date).total_seconds() - _RESOLUTION
        return max(self.sent, self.received - ANSWER_TIME) + left


_EXCHANGE: ContextVar[TimedAnswer | None] = ContextVar("exchange", default=None)


@contextmanager
def noting(exchange: TimedAnswer) -> Iterator[None]:
    """The requests in this block note in the exchange what the headers of their answer say."""
    token = _EXCHANGE.set(exchange)
    try:
        yield
    finally:
        _EXCHANGE.reset(token)


def answer_trace() -> aiohttp.TraceConfig:
    """What a session needs for `noting`: the Taskcluster client shows the headers of no answer."""
    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(_note)
    return trace


async def _note(_session: Any, _context: Any, end: aiohttp.TraceRequestEndParams) -> None:
    if exchange := _EXCHANGE.get():
        exchange.date = _date_of(end.response.headers.get("Date", ""))
        exchange.retry_after = _wait_of(end.response.headers.get("Retry-After", ""))


def _wait_of(text: str) -> float | None:
    """None for a time of day: no queue service is known to send one."""
    return min(float(text), LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _date_of(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
