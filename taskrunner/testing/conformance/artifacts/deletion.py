"""What every store does that removes artifacts. One that removes nothing raises NotSupported."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from taskrunner.errors import NotSupported
from taskrunner.interfaces.artifacts import LOG_NAME, ArtifactStore
from taskrunner.model import RunKey
from taskrunner.testing.conformance.artifacts.harness import RUN, StoreKit, body
from taskrunner.testing.conformance.kit import scenario_in_folder

LATER = RunKey(RUN.task_id, 1)


class DeletionChecks(StoreKit):
    """`ArtifactStore.delete`."""

    @scenario_in_folder
    async def test_a_deleted_run_has_nothing_and_others_have_all(self, folder: Path) -> None:
        async def scene(store: ArtifactStore) -> None:
            await store.delete(RUN)
            for _ in range(2):  # a reply may be lost
                assert await store.list(RUN) == []
                for name in ("a", LOG_NAME):
                    with pytest.raises(FileNotFoundError):
                        await self.read(store, RUN, name)
                await store.delete(RUN)
            assert [artifact.name for artifact in await store.list(LATER)] == ["a", "b/c"]
            assert await self.read(store, LATER, LOG_NAME) == b"the log\n"
            await self._fill(store, RUN, folder)
            assert await self.read(store, RUN, "b/c") == b"b/c"

        await self._play(scene, folder)

    @scenario_in_folder
    async def test_some_artifacts_are_deleted_by_their_names(self, folder: Path) -> None:
        async def scene(store: ArtifactStore) -> None:
            for _ in range(2):
                await store.delete(RUN, ["a", "unknown"])
            assert [artifact.name for artifact in await store.list(RUN)] == ["b/c"]
            await store.delete(RUN, [])
            assert await self.read(store, RUN, "b/c") == b"b/c"
            assert await self.read(store, RUN, LOG_NAME) == b"the log\n"
            with pytest.raises(FileNotFoundError):
                await self.read(store, RUN, "a")

        await self._play(scene, folder)

    @scenario_in_folder
    async def test_deleting_an_unknown_run_does_nothing(self, folder: Path) -> None:
        async def scene(store: ArtifactStore) -> None:
            await store.delete(RunKey("unknown", 7))
            await store.delete(RunKey("unknown", 7), ["a"])
            assert len(await store.list(RUN)) == 2

        await self._play(scene, folder)

    async def _play(self, scene: Callable[[ArtifactStore], Awaitable[None]], folder: Path) -> None:
        """Performs the scene on a store with two runs, if it can delete."""
        store = self.open()
        for run in (RUN, LATER):
            await self._fill(store, run, folder)
        try:
            await store.delete(RunKey("unknown", 0))
        except NotSupported:
            return
        await scene(store)

    @staticmethod
    async def _fill(store: ArtifactStore, run: RunKey, folder: Path) -> None:
        for name in ("a", "b/c"):
            await store.put(run, name, body(name.encode()))
        spool = folder / f"spool-{run.run_id}"
        spool.write_bytes(b"the log\n")
        await store.put_log(run, spool)


__all__ = ["DeletionChecks"]
