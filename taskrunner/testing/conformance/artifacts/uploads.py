"""What every artifact store does with uploads that fail or are large, and with a service that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from taskrunner.errors import Unavailable
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.model import Artifact
from taskrunner.testing.conformance.artifacts.harness import RUN, StoreKit, body
from taskrunner.testing.conformance.kit import scenario, scenario_in_folder
from taskrunner.testing.conformance.measures import (
    LARGE,
    MEBIBYTE,
    assert_no_descriptor_stays_open,
    large_body,
    little_memory,
)


async def broken() -> AsyncIterator[bytes]:
    """A container that is gone in the middle of its file."""
    yield bytes(MEBIBYTE)
    raise ConnectionResetError("the container is gone")


class UploadChecks(StoreKit):
    """Failed uploads leave nothing; large ones are streamed."""

    @scenario
    async def test_a_put_that_fails_is_not_listed_and_replaces_nothing(self) -> None:
        store = self.open()
        before = await store.put(RUN, "kept", body(b"whole"))
        for name in ("kept", "new"):
            with self.checker.raised_by_the_test(ConnectionResetError), pytest.raises(ConnectionResetError):
                await store.put(RUN, name, broken())
        await self.assert_lists(store, RUN, [before])
        assert await self.read(store, RUN, "kept") == b"whole"

    @scenario
    async def test_a_put_that_is_cancelled_is_not_listed_and_replaces_nothing(self) -> None:
        store = self.open()
        before = await store.put(RUN, "kept", body(b"whole"))
        for name in ("kept", "new"):
            await self._put_and_cancel(name)
        await self.assert_lists(store, RUN, [before])
        assert await self.read(store, RUN, "kept") == b"whole"

    async def _put_and_cancel(self, name: str) -> None:
        started, over, store = asyncio.Event(), asyncio.Event(), self.open()

        async def long_body() -> AsyncIterator[bytes]:
            while not over.is_set():
                yield bytes(1000)
                started.set()
                await asyncio.sleep(0)

        listed = await store.list(RUN)
        putting = asyncio.create_task(store.put(RUN, name, long_body()))
        await started.wait()
        assert await store.list(RUN) == listed, "a file is listed once it is complete"
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        over.set()
        for _ in range(10):  # a store that goes on without its caller has the time to finish
            assert await store.list(RUN) == listed

    @scenario
    async def test_nothing_is_kept_of_an_upload_that_was_replaced_or_has_failed(self) -> None:
        if await self.kept_bytes() is None:
            return
        store = self.open()
        await store.put(RUN, "kept", body(bytes(MEBIBYTE), bytes(MEBIBYTE)))
        await store.put(RUN, "kept", body(b"small"))
        for name in ("kept", "new"):
            with self.checker.raised_by_the_test(ConnectionResetError), suppress(ConnectionResetError):
                await store.put(RUN, name, broken())
            await self._put_and_cancel(name)
        kept = await self.kept_bytes()
        assert kept is not None
        assert kept < MEBIBYTE // 2, f"of uploads that were replaced or have failed, {kept} bytes are kept"

    @scenario
    async def test_what_was_put_in_a_batch_is_there_at_its_end(self) -> None:
        store = self.open()
        async with store.batch(RUN) as batch:
            put = [await batch.put(RUN, name, body(name.encode())) for name in ("a", "b")]
        await self.assert_lists(self.open(), RUN, put)
        put.append(await self._batch_that_fails(store))
        await self.assert_lists(self.open(), RUN, put)
        assert [await self.read(store, RUN, name) for name in "abc"] == [b"a", b"b", b"c"]

    @staticmethod
    async def _batch_that_fails(store: ArtifactStore) -> Artifact:
        with suppress(ConnectionResetError):
            async with store.batch(RUN) as batch:
                put = await batch.put(RUN, "c", body(b"c"))
                raise ConnectionResetError("the container is gone")
        return put

    @scenario
    async def test_a_large_file_is_streamed_in_and_out(self) -> None:
        if self.in_memory:
            return
        store, size = self.open(), 0
        with little_memory("putting"):
            put = await store.put(RUN, "large", large_body())
        with little_memory("getting"):
            async with aclosing(store.get(RUN, "large")) as chunks:  # type: ignore[type-var]  # a generator
                async for chunk in chunks:
                    size += len(chunk)
        assert put.size == size == LARGE

    @scenario_in_folder
    async def test_a_large_log_is_streamed_in(self, folder: Path) -> None:
        if self.in_memory:
            return
        spool = folder / "spool"
        with spool.open("wb") as file:
            file.truncate(LARGE)
        with little_memory("putting"):
            await self.open().put_log(RUN, spool)

    @scenario
    async def test_reading_and_failing_leave_no_file_open(self) -> None:
        store = self.open()
        await store.put(RUN, "large", body(*[bytes(MEBIBYTE)] * 3))

        async def read_the_beginning() -> None:
            async with aclosing(store.get(RUN, "large")) as chunks:  # type: ignore[type-var]  # a generator
                await anext(chunks)

        async def fail() -> None:
            with self.checker.raised_by_the_test(ConnectionResetError), suppress(ConnectionResetError):
                await store.put(RUN, "new", broken())

        await assert_no_descriptor_stays_open(read_the_beginning, "reading the beginning of a file")
        await assert_no_descriptor_stays_open(fail, "an upload that fails")

    @scenario_in_folder
    async def test_a_service_that_is_down_is_unavailable(self, folder: Path) -> None:
        store, spool = self.open(), folder / "spool"
        put = await store.put(RUN, "before", body(b"whole"))
        spool.write_bytes(b"a line\n")
        if not await self.is_down():
            return
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.put(RUN, "new", body(b"new")),
            lambda: store.put_log(RUN, spool),
            lambda: store.list(RUN),
            lambda: self.read(store, RUN, "before"),
        ]
        for call in calls:
            with pytest.raises(Unavailable):
                await call()
        await self.bring_back()
        await self.assert_lists(store, RUN, [put])
        assert await self.read(store, RUN, "before") == b"whole"


__all__ = ["UploadChecks"]
