"""ArtifactStoreConformance: what every artifact store does. The author of a store runs it::

    class TestMyStore(ArtifactStoreConformance):
        def store(self):
            return MyStore("bucket-of-this-test")

Each call of `store` opens the same store, which is empty at the begin of a test.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import pytest

from taskrunner.interfaces.artifacts import INDEX_NAME, LOG_NAME, ArtifactStore
from taskrunner.interfaces.log import index_of
from taskrunner.model import Artifact, RunKey

K = TypeVar("K", bound="ArtifactStoreConformance")

RUN = RunKey("a-task", 0)

BAD_NAMES = ["", "/", "/etc/passwd", "a//b", "a/", ".", "..", "a/../../b", "./a", "a/."]
"""Each of these has an empty part, `.` or `..`."""


def _in_loop(test: Callable[[K], Coroutine[Any, Any, None]]) -> Callable[[K], None]:
    @wraps(test)
    def run(suite: K) -> None:
        asyncio.run(test(suite))

    return run


async def body(*chunks: bytes) -> AsyncIterator[bytes]:
    """A file that comes in pieces."""
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


class ArtifactStoreConformance(ABC):
    """The contract of ArtifactStore."""

    @abstractmethod
    def store(self) -> ArtifactStore:
        """Opens the test's store."""

    @staticmethod
    async def read(store: ArtifactStore, run: RunKey, name: str, offset: int = 0) -> bytes:
        async with aclosing(store.get(run, name, offset=offset)) as chunks:  # type: ignore[type-var]  # a generator
            return b"".join([chunk async for chunk in chunks])

    @_in_loop
    async def test_an_artifact_that_was_put_is_listed_and_read(self) -> None:
        store, whole = self.store(), b"one" + bytes(70_000) + b"two"
        put = await store.put(RUN, "public/report.xml", body(b"one", b"", bytes(70_000), b"two"))
        assert (put.name, put.size, put.sha256) == (
            "public/report.xml",
            len(whole),
            hashlib.sha256(whole).hexdigest(),
        )
        assert put.content_type in {"application/xml", "text/xml"}
        for reader in (store, self.store()):
            assert await reader.list(RUN) == [put]
            assert await self.read(reader, RUN, "public/report.xml") == whole

    @_in_loop
    async def test_an_empty_file_is_a_file(self) -> None:
        store = self.store()
        put = await store.put(RUN, "empty", body(), content_type="text/x-nothing")
        assert put == Artifact("empty", 0, hashlib.sha256().hexdigest(), "text/x-nothing")
        assert await store.list(RUN) == [put]
        assert await self.read(store, RUN, "empty") == b""

    @_in_loop
    async def test_reading_begins_at_an_offset(self) -> None:
        store = self.store()
        await store.put(RUN, "digits", body(b"01234", b"56789"))
        assert [await self.read(store, RUN, "digits", offset) for offset in (0, 7, 10)] == [b"0123456789", b"789", b""]

    @_in_loop
    async def test_putting_again_replaces(self) -> None:
        store = self.store()
        await store.put(RUN, "a", body(b"a longer first one"), content_type="text/x-first")
        put = await store.put(RUN, "a", body(b"second"), content_type="text/x-second")
        assert await store.list(RUN) == [put]
        assert await self.read(store, RUN, "a") == b"second"

    @_in_loop
    async def test_a_put_that_fails_is_not_listed_and_replaces_nothing(self) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"half of "
            raise ConnectionResetError("the container is gone")

        store = self.store()
        before = await store.put(RUN, "kept", body(b"whole"))
        for name in ("kept", "new"):
            with pytest.raises(ConnectionResetError):
                await store.put(RUN, name, broken())
        assert await store.list(RUN) == [before]
        assert await self.read(store, RUN, "kept") == b"whole"

    @_in_loop
    async def test_a_put_that_is_cancelled_is_not_listed(self) -> None:
        started = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield bytes(1000)
                started.set()
                await asyncio.sleep(0)

        store = self.store()
        putting = asyncio.create_task(store.put(RUN, "endless", endless()))
        await started.wait()
        assert await store.list(RUN) == []
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert await store.list(RUN) == []

    @_in_loop
    async def test_a_stale_run_cannot_overwrite_an_artifact_of_a_later_run(self) -> None:
        store, later = self.store(), RunKey(RUN.task_id, 1)
        fresh = await store.put(later, "report", body(b"fresh"))
        stale = await store.put(RUN, "report", body(b"stale"))
        assert await store.list(later) == [fresh]
        assert await store.list(RUN) == [stale]
        assert await self.read(store, later, "report") == b"fresh"

    @_in_loop
    async def test_similar_names_are_different_artifacts(self) -> None:
        store = self.store()
        names = ["A", "a", "a.json", "b", "b/c", "b/c/d", "ä", "a b", "x" * 300, "%2e%2e", "data", "index", "a.part"]
        for name in names:
            await store.put(RUN, name, body(name.encode()))
        assert [artifact.name for artifact in await store.list(RUN)] == sorted(names)
        for name in names:
            assert await self.read(store, RUN, name) == name.encode()

    @_in_loop
    async def test_many_can_be_put_at_once(self) -> None:
        store = self.store()
        names = [f"part-{number:02}" for number in range(20)]
        await asyncio.gather(*(store.put(RUN, name, body(name.encode(), b"!")) for name in names))
        await asyncio.gather(*(store.put(RUN, "same", body(name.encode())) for name in names))
        assert [artifact.name for artifact in await store.list(RUN)] == [*names, "same"]
        [same] = [artifact for artifact in await store.list(RUN) if artifact.name == "same"]
        assert hashlib.sha256(await self.read(store, RUN, "same")).hexdigest() == same.sha256

    @_in_loop
    async def test_a_bad_name_is_refused(self) -> None:
        store = self.store()
        for name in BAD_NAMES:
            with pytest.raises(ValueError, match="name"):
                await store.put(RUN, name, body(b"evil"))
            with pytest.raises(ValueError, match="name"):
                await self.read(store, RUN, name)
        assert await store.list(RUN) == []

    @_in_loop
    async def test_a_missing_artifact_is_not_found(self) -> None:
        store = self.store()
        assert await store.list(RunKey("unknown", 7)) == []
        await store.put(RUN, "a", body(b"a"))
        for name in ("b", "a/b", LOG_NAME, INDEX_NAME):
            with pytest.raises(FileNotFoundError):
                await self.read(store, RUN, name)

    def test_the_log_is_kept_and_not_listed(self, tmp_path: Path) -> None:
        spool = tmp_path / "spool"

        async def keep() -> None:
            store = self.store()
            for text in (b"the first line\n", b"the first line\nthe second line\n"):
                spool.unlink(missing_ok=True)
                spool.write_bytes(text)
                for _ in range(2):  # a reply may be lost
                    await store.put_log(RUN, spool)
                assert await self.read(store, RUN, LOG_NAME) == text
            assert await self.read(store, RUN, LOG_NAME, offset=15) == b"the second line\n"
            assert await store.list(RUN) == []
            spool.unlink()
            assert await self.read(self.store(), RUN, LOG_NAME) == text

        asyncio.run(keep())

    def test_the_index_of_the_log_is_kept_with_it(self, tmp_path: Path) -> None:
        spool = tmp_path / "spool"

        async def keep() -> None:
            store = self.store()
            spool.write_bytes(b"a line\n")
            for index in (b"an index", b"another index"):
                index_of(spool).unlink(missing_ok=True)
                index_of(spool).write_bytes(index)
                for _ in range(2):  # a reply may be lost
                    await store.put_log(RUN, spool)
                assert await self.read(store, RUN, INDEX_NAME) == index
            assert await self.read(store, RUN, INDEX_NAME, offset=8) == b"index"
            assert await store.list(RUN) == []
            index_of(spool).unlink()
            assert await self.read(self.store(), RUN, INDEX_NAME) == b"another index"
            await store.put_log(RUN, spool)
            with pytest.raises(FileNotFoundError):
                await self.read(store, RUN, INDEX_NAME)

        asyncio.run(keep())


__all__ = ["ArtifactStoreConformance"]
