"""BuildPeer: the peer of the run, from its beginning to its end, whichever launcher is connected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import attrs

from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.log import LogOrigin
from taskrunner.interfaces.push import ArtifactStream, Peer
from taskrunner.model import Artifact, Move, Progress, Resolution, RunKey
from taskrunner.queues.launcher.build_state import BuildState
from taskrunner.queues.launcher.job.submission import ARCHIVE, ARTIFACTS
from taskrunner.queues.launcher.log.build_log import LauncherLog
from taskrunner.queues.launcher.log.lines import OWN, LogLines
from taskrunner.queues.launcher.log.phases import LogPhases
from taskrunner.queues.launcher.outcome import ended, lost

End = Callable[[Callable[[BuildState], BuildState]], Awaitable[None]]
"""Takes what changes the state of the build at its end."""


class BuildPeer(Peer):
    def __init__(self, end: End, log: LauncherLog, step_ids: Sequence[str] = (), note: str = "") -> None:
        """`note` is a line of the log, after its first marker."""
        self._end, self._log, self._note = end, log, note
        self._lines = LogLines(LogPhases(step_ids))
        self._names = ArtifactNames()

    async def moved(self, move: Move, ending: Resolution | None) -> None:
        await self._log.write(self._lines.moved(move, ending))
        if note := self._note:
            self._note = ""
            await self._log.write(self._lines.piece(f"{OWN}{note}\n".encode(), LogOrigin("worker", datetime.now(UTC))))

    async def progress(self, progress: Progress) -> None:
        await self._log.write(self._lines.progress(progress))

    async def send_log(self, offset: int, chunk: bytes, origin: LogOrigin | None) -> None:  # noqa: ARG002  no offsets there
        await self._log.write(self._lines.piece(chunk, origin))

    def artifacts(self) -> ArtifactStore | None:
        """The protocol has their names: the files are in the worker's own store."""
        return self._names

    async def answer(self, resolution: Resolution) -> None:
        await self._log.write(self._lines.finish(resolution))
        phase = self._lines.phases.failed
        await self._end(lambda state: self._names.named(ended(state, resolution, phase)))

    async def refuse(self, reason: str, message: str) -> None:
        await self._end(partial(lost, reason=reason, message=message))


@attrs.define
class ArtifactNames(ArtifactStream):
    """Which artifacts the store has got."""

    names: list[str] = attrs.field(factory=list)

    async def put(
        self,
        run: RunKey,  # noqa: ARG002  the peer has one
        name: str,
        body: AsyncIterator[bytes],  # noqa: ARG002  the store has it
        *,
        size: int | None = None,
        content_type: str = "",  # noqa: ARG002  as above
        content_encoding: str = "",  # noqa: ARG002  as above
        expires: datetime | None = None,  # noqa: ARG002  as above
    ) -> Artifact:
        self.names.append(name)
        return Artifact(name, size or 0, None)

    def named(self, state: BuildState) -> BuildState:
        """The state of a build that has ended, with the names. An aborted build has none."""
        if state.status not in {"success", "error"}:
            return state
        archive, artifacts = self._name_of(ARCHIVE), self._name_of(ARTIFACTS)
        if archive is None and artifacts is None:
            return state
        return attrs.evolve(state, application_archive=archive, build_artifacts=artifacts)

    def _name_of(self, prefix: str) -> str | None:
        """Of the one file, or what is before the names of several."""
        found = [name for name in self.names if name == prefix or name.startswith(f"{prefix}/")]
        return None if not found else found[0] if len(found) == 1 else prefix
