"""The disk of a store: blocking calls in threads, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import Unavailable, local_failure

T = TypeVar("T")

CALL_LIMIT = 60.0
"""Seconds for one call to the disk. Beyond it, the disk hangs."""


@attrs.frozen
class StoreDisk:
    """The disk on which a store has its folder."""

    root: Path

    async def call(
        self, work: Callable[[], T], *, discard: Callable[[T], None] | None = None, limit: float | None = None
    ) -> T:
        """Performs blocking work. `discard` closes what was opened for a caller that has given up. `limit` is in
        seconds, by default CALL_LIMIT.

        Raises: Unavailable, MachineFault (it is full, for instance), TaskFailedInternally, and FileNotFoundError of the
        artifact itself.
        """
        limit = CALL_LIMIT if limit is None else limit
        try:
            return await run_blocking(work, limit=limit, doing="a call to the artifact store", discard=discard)
        except TimeoutError:  # OverLimit, or that of a network disk
            raise Unavailable(f"the disk of the artifact store did not answer for {limit:.0f} seconds") from None
        except FileNotFoundError:
            raise
        except OSError as error:
            message = f"the artifact store refused: {error.strerror}"
            raise local_failure(message, error, str(self.root)) from error
