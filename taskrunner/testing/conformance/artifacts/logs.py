"""What every artifact store does with the log of a run and its index."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from taskrunner.interfaces.artifacts import INDEX_NAME, LOG_NAME
from taskrunner.interfaces.log import index_of
from taskrunner.model import RunKey
from taskrunner.testing.conformance.artifacts.harness import RUN, StoreKit, body
from taskrunner.testing.conformance.kit import scenario_in_folder


class LogStoreChecks(StoreKit):
    """The log and its index."""

    @scenario_in_folder
    async def test_the_log_is_kept_and_not_listed(self, folder: Path) -> None:
        store, spool = self.open(), folder / "spool"
        for text in (b"the first line\n", b"the first line\nthe second line\n"):
            spool.unlink(missing_ok=True)
            spool.write_bytes(text)
            for _ in range(2):  # a reply may be lost
                await store.put_log(RUN, spool)
            assert spool.read_bytes() == text, "the spool belongs to the worker"
            assert await self.read(store, RUN, LOG_NAME) == text
        assert await self.read(store, RUN, LOG_NAME, offset=15) == b"the second line\n"
        assert await store.list(RUN) == []
        spool.unlink()
        assert await self.read(self.open(), RUN, LOG_NAME) == text

    @scenario_in_folder
    async def test_the_index_of_the_log_is_kept_with_it(self, folder: Path) -> None:
        store, spool = self.open(), folder / "spool"
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
        assert await self.read(self.open(), RUN, INDEX_NAME) == b"another index"
        await store.put_log(RUN, spool)
        with pytest.raises(FileNotFoundError):
            await self.read(store, RUN, INDEX_NAME)

    @scenario_in_folder
    async def test_each_run_has_a_log_of_its_own(self, folder: Path) -> None:
        store, runs = self.open(), [RunKey("a", 1), RunKey("a", 0), RunKey("b", 1)]
        for run in runs:
            spool = folder / str(run).replace("/", "-")
            spool.write_bytes(f"log of {run}".encode())
            await store.put_log(run, spool)
        for run in runs:
            assert await self.read(store, run, LOG_NAME) == f"log of {run}".encode()

    @scenario_in_folder
    async def test_an_artifact_cannot_take_the_place_of_the_log(self, folder: Path) -> None:
        store, spool = self.open(), folder / "spool"
        spool.write_bytes(b"the log\n")
        index_of(spool).write_bytes(b"the index")
        await store.put_log(RUN, spool)
        for name, contents in ((LOG_NAME, b"the log\n"), (INDEX_NAME, b"the index")):
            with suppress(ValueError):
                await store.put(RUN, name, body(b"not a log"))
            assert await self.read(store, RUN, name) == contents


__all__ = ["LogStoreChecks"]
