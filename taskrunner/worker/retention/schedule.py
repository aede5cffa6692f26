"""A worker prunes its home when it starts, and then from time to time, beside its work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from taskrunner.config.retention import Retention
from taskrunner.errors import Conflict
from taskrunner.runs.services import Services
from taskrunner.worker.retention.pruning import Pruning

INTERVAL = 3600.0
"""Seconds between two prunings. What is kept for days may stay an hour longer."""

STOP_LIMIT = 5.0
"""Seconds for a pruning to end once it is cancelled. What it leaves is found by the next one."""


@asynccontextmanager
async def regular_pruning(services: Services, rules: Retention | None) -> AsyncIterator[None]:
    """Prunes by these rules while the block lasts; without rules, never. Its errors are warnings."""
    if rules is None:
        yield
        return
    pruning = asyncio.create_task(_prune_regularly(Pruning(services, rules)), name="the retention of a home")
    try:
        yield
    finally:
        pruning.cancel()
        await asyncio.wait([pruning], timeout=STOP_LIMIT)


async def _prune_regularly(pruning: Pruning) -> None:
    warn = pruning.services.observer.warn
    while True:
        try:
            outcome = await pruning.run()
        except Conflict:
            pass  # another worker on this home does the same
        except Exception as error:  # noqa: BLE001  an error in here must not stop the worker
            warn(f"the home could not be pruned: {type(error).__name__}: {error}")
        else:
            for problem in outcome.problems:
                warn(f"retention: {problem}")
        await asyncio.sleep(INTERVAL)
