"""Collecting artifacts: from the results of a run into a store, one after the other.

A spec's path is a file, which gets the spec's name; or a folder or a pattern, whose files get the spec's name followed
by their path below the folder, or below the plain beginning of the pattern: `build/**/*.whl` as `public` makes
`build/dist/a.whl` into `public/dist/a.whl`. A folder that is kept as an archive is one artifact, of the spec's name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal

import attrs

from taskrunner.errors import MachineFault, NotSupported, TaskFailed, Unavailable
from taskrunner.files.glob import GlobPattern
from taskrunner.interfaces.artifacts import RESERVED_NAMES, ArtifactStore, Missing
from taskrunner.interfaces.results import Entry, Results
from taskrunner.limits import MAX_ARTIFACT_SIZE
from taskrunner.model import ArtifactSpec, Progress, RunKey
from taskrunner.runs.upload.compression import compressed

DELAYS = (1.0, 3.0, 10.0, 30.0, 60.0)
"""Seconds between the tries of one upload, unless the store asks for longer. They outlast a restart of a store and most
short failures of a network, which should not fail a task that has succeeded."""

FULL_DISK_DELAY = 3.0
"""The longest of these delays for a disk that is full: another run's end often makes room, and while this one waits, it
has a slot and its own files on a disk that may be the same one."""


TAR = "application/x-tar"
"""The media type of an archive. A compressed one has it too: its `content_encoding` says the rest."""


async def collect(  # noqa: PLR0917  specs, source, target; and two callbacks
    specs: Iterable[ArtifactSpec],
    results: Results,
    store: ArtifactStore,
    run: RunKey,
    say: Callable[[str], None],
    progress: Callable[[Progress], None],
    *,
    max_size: int = MAX_ARTIFACT_SIZE,
    best_effort: bool = False,
    on_missing: Callable[[Missing], None] = lambda _: None,
) -> None:
    """Stores the files that the specs name; one of more than `max_size` bytes is refused. What is not stored is told by
    `on_missing`, what is optional too. The problem of one spec does
    not stop the others: all problems are raised together at the end. With `best_effort`, for a run that was stopped,
    they are only written to the log.

    Raises: TaskFailed (`artifact-missing`, `artifact-refused`), TaskFailedInternally, Unavailable (after some tries).
    """
    async with store.batch(run) as batch:
        collector = _Collector(results, batch, run, say, progress, max_size, on_missing)
        for spec in specs:
            await collector.take(spec)
    collector.raise_problems(best_effort=best_effort)


class _TooLarge(ValueError):
    """More bytes than this worker keeps of an artifact."""


@attrs.define
class _Collector:
    results: Results
    store: ArtifactStore
    run: RunKey
    say: Callable[[str], None]
    progress: Callable[[Progress], None]
    max_size: int
    on_missing: Callable[[Missing], None]
    done: int = 0
    """Bytes taken so far, as they were before compression."""
    stored: int = 0
    """Bytes in the store, as they are there."""
    names: set[str] = attrs.field(factory=set)
    missing: list[str] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)

    async def take(self, spec: ArtifactSpec) -> None:
        """Stores the files of one spec, and collects its problems."""
        found, before, stored = 0, self.done, self.stored
        try:
            async for name, entry in self._entries(spec):
                found += 1
                await self._keep(spec, name, entry)
        except (FileNotFoundError, NotADirectoryError):
            self._miss(spec, f"there is no such {'folder' if spec.archive else 'file or folder'}")
        except PermissionError as error:
            problem = f"{spec.path} may not be read: {error.strerror or error}"
            self._refuse(Missing(spec.name, "unreadable", problem))
        except NotSupported as error:
            problem = f"{spec.path} cannot be kept: this platform does not support {error}"
            self._refuse(Missing(spec.name, "refused", problem))
        else:
            if not found and GlobPattern.of(spec.path):
                self._miss(spec, "no file matches this pattern")
            else:
                size = f"files: {found:,}, bytes: {self.done - before:,}"
                if spec.compression != "none":
                    size += f", compressed: {self.stored - stored:,} ({spec.compression})"
                self.say(f"kept {spec.path} as {spec.name}: {size}")

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
        if spec.archive:
            yield spec.name, await self.results.archive(spec.path)
            return
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
        reserved = name in RESERVED_NAMES
        if name in self.names or reserved:
            why = "is the name of the run's log" if reserved else "is the name of another artifact of this run"
            problem = f"{spec.path} cannot be kept as {name}, which {why}; give it another name"
            self.refused.append(problem)  # others who ask for this name get what has it
            return
        try:
            self._check_size(entry.size or 0)
            await self._put(spec, name, entry)
        except ValueError as error:
            reason: Literal["too-large", "refused"] = "too-large" if isinstance(error, _TooLarge) else "refused"
            self._refuse(Missing(name, reason, f"{spec.path} cannot be kept as {name!r}: {error}"))
        self.names.add(name)

    def _check_size(self, size: int) -> None:
        """A sparse file counts as what is sent of it. Raises ValueError."""
        if size > self.max_size:
            raise _TooLarge(
                f"it has {size:,} bytes, and this worker keeps {self.max_size:,} of an artifact at most "
                "(max_artifact_size)"
            )

    async def _put(self, spec: ArtifactSpec, name: str, entry: Entry) -> None:
        for delay in DELAYS:
            try:
                return await self._put_once(spec, name, entry)
            except Unavailable as error:
                wait = max(delay, error.retry_after or 0)
                self.say(f"the store did not take {name}, and is asked again: {error}")
            except MachineFault as fault:
                if delay > FULL_DISK_DELAY:
                    raise
                wait = delay
                self.say(f"the store could not take {name}, and is asked again: {fault}")
            await asyncio.sleep(wait)
        return await self._put_once(spec, name, entry)

    async def _put_once(self, spec: ArtifactSpec, name: str, entry: Entry) -> None:
        before, plain = self.done, spec.compression == "none"
        body = self._read(name, entry)
        try:
            put = await self.store.put(
                self.run,
                name,
                body if plain else compressed(body, spec.compression),
                size=entry.size if plain else None,
                content_type=spec.content_type or (TAR if spec.archive else ""),
                content_encoding="" if plain else spec.compression,
                expires=datetime.now(UTC) + timedelta(seconds=spec.expires) if spec.expires else None,
            )
        except BaseException:
            self.done = before
            raise
        finally:
            with suppress(RuntimeError):  # a store that has failed may wait for a piece still
                await body.aclose()
        self.stored += put.size

    async def _read(self, name: str, entry: Entry) -> AsyncGenerator[bytes, None]:
        """Closes what it reads, which a second try may need: Docker sends one file of a container at a time."""
        before, chunks = self.done, entry.read()
        try:
            async for chunk in chunks:
                self.done += len(chunk)
                self._check_size(self.done - before)
                self.progress(Progress("artifacts", self.done, note=name))
                yield chunk
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()

    def _refuse(self, refused: Missing) -> None:
        self.refused.append(refused.message)
        self.on_missing(refused)

    def _miss(self, spec: ArtifactSpec, why: str) -> None:
        self.on_missing(Missing(spec.name, "missing", f"{spec.path}: {why}"))
        if spec.optional:
            self.say(f"{spec.path} is optional, and not there: {why}")
        else:
            self.missing.append(f"{spec.path}: {why}")
