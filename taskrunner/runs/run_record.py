"""The record of one run: its journal and its log."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress

import attrs

from taskrunner.errors import TaskFailedInternally
from taskrunner.files.untrusted import remove_folder
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.log.spool import Spool
from taskrunner.machines.chart import Move
from taskrunner.machines.task import TaskState
from taskrunner.model import Claim, Json, Resolution
from taskrunner.runs.error_mapping import needs_traceback
from taskrunner.runs.upload.service_logs import ServiceLogs
from taskrunner.state.journal import Journal
from taskrunner.state.run_folder import RunFolder


@attrs.define(eq=False)
class RunRecord:
    """Created when a run is claimed. Raises TaskFailedInternally if its files cannot be made; then there are none."""

    folder: RunFolder
    claim: Claim
    host: Mapping[str, str] = attrs.field(factory=dict)
    """The identity of the machine."""
    journal: Journal = attrs.field(init=False)
    log: Spool = attrs.field(init=False)
    service_logs: ServiceLogs = attrs.field(init=False)
    _began: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = asyncio.get_running_loop().time()
        self.journal = Journal.create(self.folder, self.claim, self.host)
        self.journal.moved(TaskState.CLAIMED, "claim")
        try:
            self.log = Spool(self.folder.log)
        except TaskFailedInternally:
            self.journal.close()
            remove_folder(self.folder.path)
            raise
        self.service_logs = ServiceLogs(self.folder, self.log)

    @property
    def age(self) -> float:
        """Seconds since the claim."""
        return asyncio.get_running_loop().time() - self._began

    def moved(self, move: Move, loss: str) -> None:
        """`loss` says why the claim was lost, if it was."""
        if move.moved:
            self.journal.moved(move.target, move.event, self.log.hide(loss) if loss else "")

    def reclaimed(self, claim: Claim) -> None:
        """A reclaim may have replaced the token, by which crash recovery hands the run back."""
        if claim.token != self.claim.token:
            self.journal.renewed(claim.token)
        self.claim = claim

    def left(self, problems: Sequence[str]) -> None:
        """Writes down what the clean-up could not remove. The log has it too, unless it has its end already."""
        self.journal.left(problems)
        if not self.log.finished:
            for problem in problems:
                self.say(f"left behind: {problem}")

    def describe(self, error: BaseException) -> None:
        """Logs the traceback of an error that a developer of this worker or of a plugin has to fix."""
        if needs_traceback(error):
            self.say("".join(traceback.format_exception(error)))

    def say(self, text: str) -> None:
        """Writes to the log what the end of the run does not depend on. A log that cannot be written says so in its
        last lines."""
        with suppress(TaskFailedInternally):
            self.log.say(text)

    def lost(self, what: str) -> None:
        """Something that the run has made is not kept, and how it ended does not say so."""
        self.say(what)
        self.journal.note(self.log.hide(what))

    def hide(self, resolution: Resolution) -> Resolution:
        """The resolution without secrets, in its message and in its result."""
        if not (resolution.message or resolution.result):
            return resolution
        result = {key: self._hide_value(value) for key, value in resolution.result.items()}
        return attrs.evolve(resolution, message=self.log.hide(resolution.message), result=result)

    def _hide_value(self, value: Json) -> Json:
        if isinstance(value, str):
            return self.log.hide(value)
        if isinstance(value, Mapping):
            return {key: self._hide_value(inner) for key, inner in value.items()}
        return [self._hide_value(inner) for inner in value] if isinstance(value, Sequence) else value

    def close_log(self, resolution: Resolution) -> None:
        """Ends the logs with how and why the run ended. A second call does nothing."""
        self.service_logs.finish(resolution, self.age)
        self.log.finish(resolution, self.age)

    async def keep_log(self, store: ArtifactStore) -> None:
        """Stores the logs. Raises the errors of the store, OSError, OverLimit."""
        await store.put_log(self.claim.run, self.folder.log)
        await self.service_logs.keep(store, self.claim.run)
