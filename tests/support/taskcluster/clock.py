"""The server's clock: real time, and what tests have added to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class ServerClock:
    """Hours pass when a test says so. Never runs backwards."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def after(self, seconds: float) -> datetime:
        return self.now() + timedelta(seconds=seconds)


def as_text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
