"""Collecting artifacts: from the results of a run into a store, one after the other.

A spec's path is a file, which gets the spec's name; or a folder or a pattern, whose files get the spec's name followed
by their path below the folder, or below the plain beginning of the pattern: `build/**/*.whl` as `public` makes
`build/dist/a.whl` into `public/dist/a.whl`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import attrs

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner.files.glob import GlobPattern
from taskrunner.interfaces.artifacts import INDEX_NAME, LOG_NAME, ArtifactStore
from taskrunner.interfaces.results import Entry, Results
from taskrunner.model import ArtifactSpec, Progress, RunKey

DELAYS = (1.0, 3.0, 10.0, 30.0, 60.0)
"""Seconds between the tries of one upload, unless the store asks for longer. They outlast a restart of a store and most
short failures of a network, which should not fail a task that has succeeded."""


async def collect(  # noqa: PLR0917  specs, source, target; and two callbacks
    specs: Iterable[ArtifactSpec],
    results: Results,
    store: ArtifactStore,
    run: RunKey,
    say: Callable[[str], None],
    progress: Callable[[Progress], None],
    *,
    best_effort: bool = False,
) -> None:
    """Stores the files that the specs name. The problem of one spec does not stop the others: all problems are raised
    together at the end. With `best_effort`, for a run that was stopped, they are only written to the log.

    Raises: TaskFailed (`artifact-missing`, `artifact-refused`), TaskFailedInternally, Unavailable (after some tries).
    """
    collector = _Collector(results, store, run, say, progress)
    for spec in specs:
        await collector.take(spec)
    collector.raise_problems(best_effort=best_effort)


@attrs.define
class _Collector:
    results: Results
    store: ArtifactStore
    run: RunKey
    say: Callable[[str], None]
    progress: Callable[[Progress], None]
    done: int = 0
    """Bytes stored so far."""
    names: set[str] = attrs.field(factory=set)
    missing: list[str] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)

    async def take(self, spec: ArtifactSpec) -> None:
        """Stores the files of one spec, and collects its problems."""
        found, before = 0, self.done
        try:
            async for name, entry in self._entries(spec):
                found += 1
                await self._keep(spec, name, entry)
        except (FileNotFoundError, NotADirectoryError):
            self._miss(spec, "there is no such file or folder")
        except PermissionError as error:
            self.refused.append(f"{spec.path} may not be read: {error.strerror or error}")
        else:
            if not found and GlobPattern.of(spec.path):
                self._miss(spec, "no file matches this pattern")
            else:
                self.say(f"kept {spec.path} as {spec.name}: files: {found:,}, bytes: {self.done - before:,}")

    def raise_problems(self, *, best_effort: bool) -> None:
        """Raises TaskFailed if a file was missing or refused; with `best_effort`, only logs it."""
        problems = [*self.refused, *self.missing]
        if best_effort:
            for problem in problems:
                self.say(f"not kept: {problem}")
        elif problems:
            reason = "artifact-refused" if self.refused else "artifact-missing"
            raise TaskFailed(reason, "artifacts could not be kept:\n" + "\n".join(problems))

    async def _entries(self, spec: ArtifactSpec) -> AsyncIterator[tuple[str, Entry]]:
        """The files of a spec, each with the name of its artifact."""
        pattern = GlobPattern.of(spec.path)
        if pattern is None:
            try:
                entry = await self.results.archive_file(spec.path)
            except IsADirectoryError:
                pass
            else:
                yield spec.name, entry
                return
        async for entry in self.results.archive_folder(pattern.folder if pattern else spec.path):
            if pattern is None or pattern.matches(entry.name):
                yield f"{spec.name}/{entry.name}", entry

    async def _keep(self, spec: ArtifactSpec, name: str, entry: Entry) -> None:
        """Stores one file, unless its name is refused."""
        reserved = name in {LOG_NAME, INDEX_NAME}
        if name in self.names or reserved:
            why = "is the name of the run's log" if reserved else "is the name of another artifact of this run"
            self.refused.append(f"{spec.path} cannot be kept as {name}, which {why}; give it another name")
            return
        try:
            await self._put(spec, name, entry)
        except ValueError as error:
            self.refused.append(f"{spec.path} cannot be kept as {name!r}: {error}")
        self.names.add(name)

    async def _put(self, spec: ArtifactSpec, name: str, entry: Entry) -> None:
        for delay in DELAYS:
            try:
                return await self._put_once(spec, name, entry)
            except Unavailable as error:
                self.say(f"the store did not take {name}, and is asked again: {error}")
                await asyncio.sleep(max(delay, error.retry_after or 0))
        return await self._put_once(spec, name, entry)

    async def _put_once(self, spec: ArtifactSpec, name: str, entry: Entry) -> None:
        before = self.done
        try:
            await self.store.put(self.run, name, self._read(name, entry), content_type=spec.content_type)
        except BaseException:
            self.done = before
            raise

    async def _read(self, name: str, entry: Entry) -> AsyncIterator[bytes]:
        async for chunk in entry.read():
            self.done += len(chunk)
            self.progress(Progress("artifacts", self.done, note=name))
            yield chunk

    def _miss(self, spec: ArtifactSpec, why: str) -> None:
        if spec.optional:
            self.say(f"{spec.path} is optional, and not there: {why}")
        else:
            self.missing.append(f"{spec.path}: {why}")
