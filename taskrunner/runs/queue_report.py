"""The report of a run to its queue: what it does while it goes on, then its artifacts, and last how it ended."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from taskrunner.errors import ClaimLost, Unavailable
from taskrunner.interfaces.artifacts import Missing
from taskrunner.model import Move, Progress, Resolution
from taskrunner.runs.feed import RunFeed, is_told
from taskrunner.runs.lease import KeptClaim
from taskrunner.runs.run_record import RunRecord
from taskrunner.runs.services import Services
from taskrunner.runs.upload.hand_over import HandOver


@attrs.define(eq=False)
class QueueReport:
    """One run's report. What the queue or its peer does not take is noted in the journal of the run."""

    services: Services
    kept: KeptClaim
    record: RunRecord
    _feed: RunFeed | None = None

    def start(self, state: str, ending: Resolution | None) -> None:
        """The run has a slot."""
        if is_told(self.services.queue):
            self._feed = RunFeed(self.services.queue, lambda: self.kept.claim, self.record.log, self.kept.calls)
            self._feed.start()
            self.moved(Move("", "claim", state), ending)

    @property
    def told(self) -> bool:
        """Whether the queue is told what the run does."""
        return self._feed is not None

    def moved(self, move: Move, ending: Resolution | None) -> None:
        if self._feed and move.moved:
            self._feed.moved(move, ending)

    def progressed(self, progress: Progress) -> None:
        """From any thread."""
        if self._feed:
            self._feed.progressed(progress)

    async def stop(self) -> None:
        if self._feed:
            await self._feed.stop()

    def end_by(self, when: float) -> None:
        """The machine stops then, on the loop's clock: nobody is waited for any longer."""
        if self._feed:
            self._feed.ends = when

    async def finish_log(self) -> None:
        """Waits for the queue to take the log to its last line."""
        if self._feed:
            self._note(await self._feed.finish())

    async def hand_over(self, missing: Sequence[Missing] = ()) -> None:
        """Copies artifacts and log to where the queue's peer expects them, if it does; and tells what is missing.

        Raises: Unavailable. That a peer is gone is left to the claim.
        """
        queue, run = self.services.queue, self.kept.claim.run
        theirs = queue.artifacts(lambda: self.kept.claim)
        if theirs is None:
            return
        try:
            await HandOver(self.services.store, theirs, run, self.kept.calls).copy(self.record.folder.log, missing)
        except ClaimLost as lost:
            self._note(f"the artifacts: {lost}")
        except Unavailable as unavailable:
            self._note(str(unavailable))
            raise

    async def send(self, resolution: Resolution, release_delay: float | None) -> None:
        """Reports the resolution, or releases the run. Raises: ClaimLost."""
        if release_delay is not None:
            await self.kept.release(release_delay, resolution.reason, resolution.message)
        elif await self.kept.resolve(resolution) == "unanswered":
            self._note(f"its peer has not taken the answer, {resolution}")

    def _note(self, text: str) -> None:
        if text:
            hidden = self.record.log.hide(text)
            self.record.journal.note(hidden)
            self.services.observer.warn(f"{self.kept.claim.run}: {hidden}")
