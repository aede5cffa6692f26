"""Ends what an earlier run of the same task still has on this machine, before the next one begins.

A worker that is frozen (SIGSTOP, a suspended machine) holds the lock of a living one, so that no crash recovery looks
at it. Its claims expire, its processes and containers go on, and nothing in it can end them. Whoever takes a run of the
task over on the same home does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from taskrunner.blocking import run_blocking
from taskrunner.errors import NotSupported
from taskrunner.model import Claim, RunKey
from taskrunner.runs.platforms import Platforms
from taskrunner.state.journal_reader import Unfinished, unfinished_run
from taskrunner.state.run_folder import RunFolder

DISK_LIMIT = 60.0
"""Seconds to read the journals of the earlier runs of one task."""


async def end_earlier_runs(claim: Claim, home: Path, platforms: Platforms, say: Callable[[str], None]) -> None:
    """A run of this worker itself is left alone: it has lost its claim and ends by itself. Says what was found.

    Raises: Unavailable (something of an earlier run is still there), OverLimit, and the errors of opening a platform.
    """
    if not claim.run_id:
        return
    earlier = await run_blocking(lambda: _earlier(home, claim), limit=DISK_LIMIT, doing="looking for earlier runs")
    for run in earlier:
        try:
            found = await platforms.clean_up_run(run.platform, run.claim.worker_id, run.claim.run)
        except NotSupported:
            found = [f"the {run.platform} platform cannot say what is left of it"]
        for line in found:
            say(f"run {run.claim.run} of worker {run.claim.worker_id}, which does not answer: {line}")


def _earlier(home: Path, claim: Claim) -> list[Unfinished]:
    folders = (RunFolder(home, RunKey(claim.task_id, number)) for number in range(claim.run_id))
    runs = [run for folder in folders if (run := unfinished_run(folder))]
    return [run for run in runs if run.claim.worker_id != claim.worker_id]
