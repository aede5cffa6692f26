"""Artifacts at the queue: files, links, words about what is missing; tried again when that may help."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskrunner.errors import ClaimLost, TaskFailedInternally, TaskrunnerError, Unavailable
from taskrunner.interfaces.artifacts import ArtifactStore, Missing
from taskrunner.interfaces.queue import HeldClaim
from taskrunner.model import COMPLETED, exception
from taskrunner.queues.taskcluster.queue import TaskclusterQueue
from tests.support.taskcluster.opened import PAYLOAD, claimed, opened
from tests.support.taskcluster.server import TaskclusterServer


@pytest.fixture
def server() -> Iterator[TaskclusterServer]:
    with TaskclusterServer(poll=0.1) as server:
        yield server


def store_of(queue: TaskclusterQueue, held: HeldClaim) -> ArtifactStore:
    store = queue.artifacts(held)
    assert store is not None
    return store


async def parts(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def test_files_have_the_type_and_the_end_that_their_author_wrote(server: TaskclusterServer) -> None:
    async def main() -> None:
        end = server.clock.after(3600).isoformat()
        payload = {
            **PAYLOAD,
            "artifacts": {
                "public/out": {"type": "directory", "path": "/out", "expires": end},
                "public/late": {"type": "file", "path": "/late", "expires": "2999-01-01T00:00:00Z"},
            },
        }
        async with opened(server) as queue:
            claim = await claimed(queue, server, payload)
            store = store_of(queue, lambda: claim)
            await store.put(claim.run, "public/out/a.json", parts(b"{", b"}"), size=2)
            await store.put(claim.run, "public/late", parts(b""), size=0, content_type="text/css")
            await store.put(claim.run, "public/plain", parts(b"x"), size=1)
            found = server.artifacts("one")
            assert {name: (each["contentType"], each["body"]) for name, each in found.items()} == {
                "public/out/a.json": ("application/json", b"{}"),
                "public/late": ("text/css", b""),
                "public/plain": ("application/octet-stream", b"x"),
            }
            task_end = server.tasks.find("one").definition["expires"]
            assert found["public/late"]["expires"] == found["public/plain"]["expires"] == task_end
            assert found["public/out/a.json"]["expires"][:19] == end[:19]

    asyncio.run(main())


def test_the_log_is_a_file_and_its_live_name_a_link(server: TaskclusterServer, tmp_path: Path) -> None:
    spool = tmp_path / "log"
    spool.write_bytes(b"line\n" * 500_000)

    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server, {**PAYLOAD, "log": "public/build.log.txt"})
            await store_of(queue, lambda: claim).put_log(claim.run, spool)
            found = server.artifacts("one")
            assert found["public/build.log_backing.txt"]["body"] == spool.read_bytes()
            assert found["public/build.log.txt"]["artifact"] == "public/build.log_backing.txt"
            assert found["public/build.log.txt"]["storageType"] == "link"

    asyncio.run(main())


def test_what_is_missing_is_an_error_with_its_reason(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            store = store_of(queue, lambda: claim)
            for reason in ("missing", "unreadable", "too-large", "refused"):
                await store.put_missing(claim.run, Missing(f"public/{reason}", reason, "why"))  # type: ignore[arg-type]
            reasons = {name: each["reason"] for name, each in server.artifacts("one").items()}
            assert reasons == {
                "public/missing": "file-missing-on-worker",
                "public/unreadable": "file-not-readable-on-worker",
                "public/too-large": "too-large-file-on-worker",
                "public/refused": "invalid-resource-on-worker",
            }

    asyncio.run(main())


REFUSED: list[tuple[str, str, dict[str, Any], type[TaskrunnerError]]] = [
    ("the queue has an error", "createArtifact", {"kind": "error"}, Unavailable),
    ("the queue is gone", "createArtifact", {"kind": "drop"}, Unavailable),
    ("the queue's answer is lost", "createArtifact", {"kind": "lost"}, Unavailable),
    ("the queue's answer is no JSON", "createArtifact", {"kind": "garbage", "body": b"ok"}, Unavailable),
    ("the queue names no URL", "createArtifact", {"kind": "garbage", "body": b"{}"}, Unavailable),
    (
        "the queue names a URL of nothing",
        "createArtifact",
        {"kind": "garbage", "body": json.dumps({"putUrl": "http://127.0.0.1:1/x?Signature=s3cret"}).encode()},
        Unavailable,
    ),
    ("the storage has an error", "put", {"kind": "error", "status": 503}, Unavailable),
    ("the storage is gone", "put", {"kind": "drop"}, Unavailable),
    ("the storage refuses the URL", "put", {"kind": "error", "status": 403}, Unavailable),
    ("the file is too large for the storage", "put", {"kind": "error", "status": 413}, TaskFailedInternally),
    ("the storage redirects", "put", {"kind": "error", "status": 307}, TaskFailedInternally),
]


@pytest.mark.parametrize(("call", "fault", "error"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_file_that_was_not_taken_is_no_success(
    server: TaskclusterServer, call: str, fault: dict[str, Any], error: type[TaskrunnerError]
) -> None:
    """Sent again, it is announced anew, and taken."""

    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            store = store_of(queue, lambda: claim)
            server.fault(call, **fault)
            with pytest.raises(error) as problem:
                await store.put(claim.run, "public/a", parts(b"a" * 100_000), size=100_000)
            assert "s3cret" not in str(problem.value)
            assert problem.value.__cause__ is None
            await store.put(claim.run, "public/a", parts(b"a" * 100_000), size=100_000)
            assert server.artifacts("one")["public/a"]["body"] == b"a" * 100_000

    asyncio.run(main())


def test_a_stale_url_is_replaced(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            store = store_of(queue, lambda: claim)

            async def slow() -> AsyncIterator[bytes]:
                yield b"a"

            server.tasks.claim_timeout = 7200
            claim = await queue.reclaim(claim, lease=60)
            stalled = server.fault("put", "stall")
            putting = asyncio.ensure_future(store.put(claim.run, "public/a", slow(), size=1))
            await asyncio.to_thread(server.wait_until, lambda: not stalled.times)
            server.advance(46 * 60)
            stalled.release()
            with pytest.raises(Unavailable, match="403"):
                await putting
            await store.put(claim.run, "public/a", slow(), size=1)
            assert server.calls("createArtifact") == ["createArtifact"] * 2

    asyncio.run(main())


def test_a_body_of_another_size_is_refused(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            store = store_of(queue, lambda: claim)
            for size in (2, 4):
                with pytest.raises(ValueError, match=f"{size} bytes"):
                    await store.put(claim.run, "public/a", parts(b"abc"), size=size)
            with pytest.raises(ValueError, match="size"):
                await store.put(claim.run, "public/a", parts(b"abc"))

    asyncio.run(main())


def test_each_request_has_the_newest_credentials(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            first = claim = await claimed(queue, server)
            store = store_of(queue, lambda: claim)
            server.advance(1100)
            claim = await queue.reclaim(claim, lease=60)
            server.advance(1100)  # the first credentials have ended long ago
            await store.put(claim.run, "public/a", parts(b"a"), size=1)
            with pytest.raises(TaskrunnerError):
                await store_of(queue, lambda: first).put(first.run, "public/b", parts(b"b"), size=1)

    asyncio.run(main())


def test_after_an_exception_the_log_is_taken_and_after_a_success_it_is_lost(
    server: TaskclusterServer, tmp_path: Path
) -> None:
    spool = tmp_path / "log"
    spool.write_bytes(b"why\n")

    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            await queue.resolve(claim, exception("malformed-payload", ""))
            await store_of(queue, lambda: claim).put_log(claim.run, spool)
            assert server.artifacts("one")["public/logs/live_backing.log"]["body"] == b"why\n"
            other = await claimed(queue, server, task_id="two")
            await queue.resolve(other, COMPLETED)
            with pytest.raises(ClaimLost):
                await store_of(queue, lambda: other).put_log(other.run, spool)

    asyncio.run(main())
