"""Bugs of artifact stores."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from taskrunner import Artifact, RunKey
from tests.testing.planted.small_store import RESERVED, STORES, SmallStore


@STORES.caught_by("test_a_large_file_is_streamed_in_and_out")
class PutsTheWholeFileInMemory(SmallStore):
    """Streams a file in."""

    async def write(self, path: Path, body: AsyncIterator[bytes]) -> tuple[int, str]:
        whole = b"".join([chunk async for chunk in body])
        path.write_bytes(whole)
        return len(whole), hashlib.sha256(whole).hexdigest()


@STORES.caught_by("test_a_large_file_is_streamed_in_and_out")
class GetsTheWholeFileInMemory(SmallStore):
    """Streams a file out."""

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        self.reach()
        if name not in RESERVED:
            self.check_name(name)
        yield self.place(run, name).read_bytes()[offset:]


@STORES.caught_by("test_a_large_log_is_streamed_in")
class ReadsTheWholeLog(SmallStore):
    """Keeps the finished log."""

    async def put_log(self, run: RunKey, spool: Path) -> None:
        self.place(run, "log").write_bytes(spool.read_bytes())


@STORES.caught_by("test_nothing_is_kept_of_an_upload_that_was_replaced_or_has_failed")
class LeaksFailedUploads(SmallStore):
    """It is listed once it is complete."""

    def undo(self, temporary: Path) -> None:
        pass


@STORES.caught_by("test_nothing_is_kept_of_an_upload_that_was_replaced_or_has_failed")
class KeepsWhatWasReplaced(SmallStore):
    """The same name again replaces it."""

    def commit(self, run: RunKey, artifact: Artifact, data: Path) -> None:
        place = self.place(run, artifact.name)
        if place.exists():
            place.rename(self.temporary())
        super().commit(run, artifact, data)


@STORES.caught_by("test_a_content_encoding_is_listed_and_the_bytes_are_kept_as_they_are")
class ForgetsTheEncoding(SmallStore):
    """`content_encoding` is kept with the file."""

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **details: Any) -> Artifact:
        return await super().put(run, name, body, **details | {"content_encoding": ""})


@STORES.caught_by("test_a_put_that_is_cancelled_is_not_listed_and_replaces_nothing")
class ListsHalfAFile(SmallStore):
    """It is listed once it is complete."""

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **details: Any) -> Artifact:
        self.check_name(name)
        empty = self.temporary()
        empty.touch()
        self.commit(run, Artifact(name, 0, "", self.guess(name)), empty)
        return await super().put(run, name, body, **details)


@STORES.caught_by("test_a_put_that_fails_is_not_listed_and_replaces_nothing")
class WritesOverTheOldFile(SmallStore):
    """It is listed once it is complete; the same name again replaces it."""

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **details: Any) -> Artifact:
        self.check_name(name)
        place = self.place(run, name)
        size, digest = await self.write(place, body)
        artifact = Artifact(name, size, digest, self.guess(name))
        self.commit(run, artifact, place)
        return artifact


@STORES.caught_by("test_a_put_that_fails_is_not_listed_and_replaces_nothing")
class SwallowsTheErrorOfTheBody(SmallStore):
    """It is listed once it is complete."""

    async def write(self, path: Path, body: AsyncIterator[bytes]) -> tuple[int, str]:
        async def until_it_fails() -> AsyncIterator[bytes]:
            try:
                async for chunk in body:
                    yield chunk
            except ConnectionError:
                return

        return await super().write(path, until_it_fails())


@STORES.caught_by("test_a_put_that_is_cancelled_is_not_listed_and_replaces_nothing")
class GoesOnAfterACancellation(SmallStore):
    """A cancelled put is over."""

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **details: Any) -> Artifact:
        return await asyncio.shield(asyncio.ensure_future(super().put(run, name, body, **details)))


@STORES.caught_by("test_an_artifact_that_was_put_is_listed_and_read")
class HashesTheFirstPieceAlone(SmallStore):
    """`Artifact.sha256` is that of the whole file."""

    async def write(self, path: Path, body: AsyncIterator[bytes]) -> tuple[int, str]:
        size, _ = await super().write(path, body)
        with path.open("rb") as file:
            return size, hashlib.sha256(file.read(4096)).hexdigest()


@STORES.caught_by("test_an_artifact_that_was_put_is_listed_and_read")
class GuessesNoType(SmallStore):
    """`content_type` is guessed from the name when empty."""

    def guess(self, name: str) -> str:
        return "application/octet-stream"


@STORES.caught_by("test_a_content_type_is_kept_as_it_is")
class CutsTheParametersOfTheType(SmallStore):
    """`content_type` is guessed from the name when empty, and otherwise taken."""

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **details: Any) -> Artifact:
        details["content_type"] = details.get("content_type", "").partition(";")[0]
        return await super().put(run, name, body, **details)


@STORES.caught_by("test_a_size_that_is_said_must_be_true")
class BelievesTheSizeThatIsSaid(SmallStore):
    """A body of another size is refused with ValueError."""

    def check_size(self, written: int, size: int | None) -> None:
        pass


@STORES.caught_by("test_a_size_that_is_said_must_be_true")
class RefusesAWrongSizeTooLate(SmallStore):
    """A body of another size is refused with ValueError."""

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **details: Any) -> Artifact:
        size = details.pop("size", None)
        artifact = await super().put(run, name, body, **details)
        self.check_size(artifact.size, size)
        return artifact


@STORES.caught_by("test_a_time_until_which_a_file_is_kept_is_listed")
class ForgetsTheTimeOfExpiry(SmallStore):
    """A time of day after which the store may remove the file."""

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **details: Any) -> Artifact:
        return await super().put(run, name, body, **details | {"expires": None})


@STORES.caught_by("test_reading_begins_at_an_offset")
class IgnoresTheOffset(SmallStore):
    """From a byte offset."""

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        async for chunk in super().get(run, name):
            yield chunk


@STORES.caught_by("test_a_stale_run_cannot_overwrite_an_artifact_of_a_later_run")
class KeepsFilesByTask(SmallStore):
    """A stale run can never overwrite the artifacts of a later one."""

    def folder(self, run: RunKey) -> Path:
        return self.root / "runs" / run.task_id


@STORES.caught_by("test_a_run_has_its_own_artifacts_alone")
class ListsByAPrefix(SmallStore):
    """All artifacts of a run."""

    def entries(self, run: RunKey) -> list[Artifact]:
        runs = self.folder(run).parent.glob(f"{run.run_id}*")
        return [self.artifact(json.loads(path.read_text())) for folder in runs for path in folder.glob("*.json")]


@STORES.caught_by("test_a_run_has_its_own_artifacts_alone")
class JoinsTaskAndRun(SmallStore):
    """Keeps files under a run's key."""

    def folder(self, run: RunKey) -> Path:
        return self.root / "runs" / f"{run.task_id}{run.run_id}".replace(".", "-").lower()


@STORES.caught_by("test_similar_names_are_different_artifacts")
class ReplacesOddCharacters(SmallStore):
    """The same name again replaces it; another name does not."""

    def key(self, name: str) -> str:
        return name if name in RESERVED else "".join(c if c.isascii() and c.isalnum() else "_" for c in name[:100])


@STORES.caught_by("test_similar_names_are_different_artifacts")
class ListsInAnyOrder(SmallStore):
    """Sorted by name."""

    async def list(self, run: RunKey) -> list[Artifact]:
        return sorted(self.entries(run), key=lambda artifact: artifact.sha256 or "")


@STORES.caught_by("test_a_bad_name_is_refused")
class TakesAnyName(SmallStore):
    """A name that does not match `limits.ARTIFACT_PATTERN` is refused with ValueError."""

    def check_name(self, name: str) -> None:
        pass


@STORES.caught_by("test_a_bad_name_is_refused")
class RefusesDotsAlone(SmallStore):
    """A name that does not match `limits.ARTIFACT_PATTERN` is refused with ValueError."""

    def check_name(self, name: str) -> None:
        if not name or name.startswith("/") or set(name.split("/")) & {"", ".", ".."}:
            raise ValueError("this name leaves the store")


@STORES.caught_by("test_a_missing_artifact_is_not_found")
class FindsAnEmptyFile(SmallStore):
    """Raises FileNotFoundError."""

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        if name in RESERVED or self.place(run, name).exists():
            async for chunk in super().get(run, name, offset=offset):
                yield chunk


@STORES.caught_by("test_a_missing_artifact_is_not_found")
class RaisesAKeyError(SmallStore):
    """Raises FileNotFoundError."""

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        try:
            async for chunk in super().get(run, name, offset=offset):
                yield chunk
        except FileNotFoundError:
            raise KeyError(name) from None


@STORES.caught_by("test_a_missing_artifact_is_not_found")
class DoesNotKnowTheRun(SmallStore):
    """None when the run is unknown."""

    async def list(self, run: RunKey) -> list[Artifact]:
        if not self.folder(run).exists():
            raise FileNotFoundError(run)
        return await super().list(run)


@STORES.caught_by("test_the_log_is_kept_and_not_listed")
class ListsTheLog(SmallStore):
    """The reserved name of a run's log; `list` leaves it out."""

    def entries(self, run: RunKey) -> list[Artifact]:
        log = [Artifact("log", 0, "")] if (self.folder(run) / "log").exists() else []
        return [*super().entries(run), *log]


@STORES.caught_by("test_the_log_is_kept_and_not_listed")
class MovesTheSpool(SmallStore):
    """Keeps the finished log, the file `spool`."""

    async def put_log(self, run: RunKey, spool: Path) -> None:
        await super().put_log(run, spool)
        spool.unlink()


@STORES.caught_by("test_the_log_is_kept_and_not_listed")
class KeepsTheFirstLog(SmallStore):
    """A log that is kept again replaces both."""

    async def put_log(self, run: RunKey, spool: Path) -> None:
        if not self.place(run, "log").exists():
            await super().put_log(run, spool)


@STORES.caught_by("test_the_log_is_kept_and_not_listed")
class AppendsToTheLog(SmallStore):
    """A log that is kept again replaces both."""

    async def put_log(self, run: RunKey, spool: Path) -> None:
        with self.place(run, "log").open("ab") as log, spool.open("rb") as file:
            shutil.copyfileobj(file, log)


@STORES.caught_by("test_the_log_is_kept_and_not_listed")
class LinksToTheSpool(SmallStore):
    """Keeps the finished log."""

    async def put_log(self, run: RunKey, spool: Path) -> None:
        self.place(run, "log").unlink(missing_ok=True)
        self.place(run, "log").symlink_to(spool)


@STORES.caught_by("test_the_index_of_the_log_is_kept_with_it")
class ForgetsTheIndex(SmallStore):
    """And its index, the file `<spool>.index`, if there is one."""

    async def put_log(self, run: RunKey, spool: Path) -> None:
        shutil.copyfile(spool, self.place(run, "log"))


@STORES.caught_by("test_the_index_of_the_log_is_kept_with_it")
class KeepsTheIndexOfAnotherLog(SmallStore):
    """A log that is kept again replaces both."""

    async def put_log(self, run: RunKey, spool: Path) -> None:
        index = self.place(run, "log.index")
        before = index.read_bytes() if index.exists() else None
        await super().put_log(run, spool)
        if before is not None and not index.exists():
            index.write_bytes(before)


@STORES.caught_by("test_each_run_has_a_log_of_its_own")
class KeepsOneLogOfATask(SmallStore):
    """Keeps files under a run's key."""

    def place(self, run: RunKey, name: str) -> Path:
        return super().place(attrs.evolve(run, run_id=0) if name in RESERVED else run, name)


@STORES.caught_by("test_an_artifact_cannot_take_the_place_of_the_log")
class PutsAnArtifactOverTheLog(SmallStore):
    """The reserved name of a run's log."""

    def check_name(self, name: str) -> None:
        if name not in RESERVED:
            super().check_name(name)


@STORES.caught_by("test_what_was_put_in_a_batch_is_there_at_its_end")
class DropsABatchThatFails(SmallStore):
    """What was put is listed at the end of the block, however that ends."""

    @asynccontextmanager
    async def batch(self, run: RunKey) -> AsyncIterator[SmallStore]:
        before = set(self.folder(run).glob("*"))
        try:
            yield self
        except BaseException:
            for path in set(self.folder(run).glob("*")) - before:
                path.unlink()
            raise


@STORES.caught_by("test_a_deleted_run_has_nothing_and_others_have_all")
class DeletesAllRunsOfATask(SmallStore):
    """Removes these artifacts of a run."""

    async def delete(self, run: RunKey, names: Collection[str] | None = None) -> None:
        if names is None:
            shutil.rmtree(self.folder(run).parent, ignore_errors=True)
        else:
            self.delete_some(run, names)


@STORES.caught_by("test_a_deleted_run_has_nothing_and_others_have_all")
class KeepsTheLogOfADeletedRun(SmallStore):
    """With None all of them and its log."""

    async def delete(self, run: RunKey, names: Collection[str] | None = None) -> None:
        self.delete_some(run, [artifact.name for artifact in self.entries(run)] if names is None else names)


@STORES.caught_by("test_some_artifacts_are_deleted_by_their_names")
class DeletesAllWhenNoNameIsGiven(SmallStore):
    """Removes these artifacts of a run."""

    async def delete(self, run: RunKey, names: Collection[str] | None = None) -> None:
        await super().delete(run, names or None)


@STORES.caught_by("test_some_artifacts_are_deleted_by_their_names")
class CannotDeleteTwice(SmallStore):
    """What is not there is ignored."""

    def delete_some(self, run: RunKey, names: Collection[str]) -> None:
        for name in names:
            (self.folder(run) / self.key(name)).unlink()
        super().delete_some(run, names)


@STORES.caught_by("test_reading_and_failing_leave_no_file_open")
class LeavesFilesOpen(SmallStore):
    """Streams a file out."""

    opened: list[Any] = []

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        file = self.place(run, name).open("rb")
        self.opened.append(file)
        file.seek(offset)
        while chunk := file.read(1 << 20):
            yield chunk
        file.close()


@STORES.caught_by("test_many_can_be_put_at_once")
class HasOnePlaceForUploads(SmallStore):
    """Keeps files; several may be put at once."""

    def temporary(self) -> Path:
        return super().temporary().with_name("upload")


@STORES.caught_by("test_a_service_that_is_down_is_unavailable")
class SaysNothingIsThereWhenDown(SmallStore):
    """Every method may raise Unavailable."""

    async def list(self, run: RunKey) -> list[Artifact]:
        return [] if (self.root / "down").exists() else await super().list(run)


@STORES.caught_by("test_a_service_that_is_down_is_unavailable")
class PassesOnTheErrorOfItsClient(SmallStore):
    """Every method may raise Unavailable, and TaskFailedInternally."""

    def reach(self) -> None:
        if (self.root / "down").exists():
            raise ConnectionRefusedError("111")


@STORES.caught_by("test_a_service_that_is_down_is_unavailable", hangs=True)
class WaitsForAServiceForEver(SmallStore):
    """Every method may raise Unavailable."""

    async def list(self, run: RunKey) -> list[Artifact]:
        while (self.root / "down").exists():
            await asyncio.sleep(0.05)
        return await super().list(run)


@STORES.not_caught("a power cut needs a machine that is turned off; a black-box test cannot see a missing fsync")
class SyncsNothing(SmallStore):
    """It is listed once it is complete: also after a power cut."""
