from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from taskrunner.model import Artifact, RunKey
from taskrunner.testing import FakeHost, MemoryLog, MemoryStore
from taskrunner.testing.conformance.platform.harness import joined

RUN = RunKey("t1", 0)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_an_artifact_is_stored_listed_and_read() -> None:
    async def main() -> None:
        store = MemoryStore()
        artifact = await store.put(RUN, "public/report.xml", chunks(b"<a>", b"</a>"))
        assert artifact == Artifact("public/report.xml", 7, sha256(b"<a></a>").hexdigest(), artifact.content_type)
        assert artifact.content_type.endswith("xml")
        assert await joined(store.get(RUN, "public/report.xml", offset=3)) == b"</a>"
        assert await store.list(RUN) == [artifact]
        assert await store.list(RunKey("t1", 1)) == []

    asyncio.run(main())


def test_the_log_is_stored_and_not_listed(tmp_path: Path) -> None:
    async def main() -> None:
        store, spool = MemoryStore(), tmp_path / "log"
        spool.write_bytes(b"all that was said\n")
        await store.put_log(RUN, spool)
        assert await store.list(RUN) == []
        assert store.log(RUN) == "all that was said\n"
        assert await joined(store.get(RUN, "log")) == b"all that was said\n"

    asyncio.run(main())


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/.", "a/"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="names no artifact"):
        asyncio.run(MemoryStore().put(RUN, name, chunks(b"")))


def test_a_missing_artifact_is_not_found() -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(joined(MemoryStore().get(RUN, "missing")))


def test_a_test_waits_for_a_log_that_threads_write() -> None:
    async def main() -> None:
        log = MemoryLog()
        waiting = asyncio.create_task(log.until("two"))
        await asyncio.sleep(0)
        for text in (b"one t", b"wo"):
            writer = threading.Thread(target=log.write, args=(text,))
            writer.start()
            writer.join()
        await waiting
        await log.until("one")

    asyncio.run(main())


def test_a_later_notice_counts_only_if_it_is_more_urgent() -> None:
    async def main() -> None:
        host = FakeHost({"capacity": 2}, {"zone": "b"})
        host.leave(why="drain")
        host.leave(immediate=True, why="spot", time_left=120)
        host.leave(why="drain again")
        assert [(await host.shutting_down()).why for _ in range(2)] == ["drain", "spot"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await host.shutting_down()
        assert host.identity == {"host": "fake", "zone": "b"}
        assert host.load_config() == {"capacity": 2}
        await host.shut_down()
        assert host.is_off

    asyncio.run(main())
