"""What a launcher sends and gets, over a real connection to a whole worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from websockets.exceptions import ConnectionClosed

from taskrunner.queues.launcher import build as build_module
from taskrunner.queues.launcher.source import MOST_WARNINGS, admits
from taskrunner.queues.listening import websocket_port
from taskrunner.testing.conformance.push_source.harness import WorkerScene
from tests.support.launcher_frames import MALFORMED
from tests.support.launcher_kit import BUILD, LauncherClient, OneBuildKit

LIMIT = 40.0
NAMES = {"applicationArchiveName": None, "buildArtifactsName": None}
FOREVER = {"platform": "fake", "run_for": 3600, "max_run_time": 7200}

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

Launch: TypeAlias = Callable[[], Coroutine[Any, Any, LauncherClient]]


@asynccontextmanager
async def worker(home: Path, kit: OneBuildKit | None = None) -> AsyncIterator[tuple[WorkerScene, LauncherClient]]:
    kit = kit or OneBuildKit()
    async with asyncio.timeout(LIMIT), kit.working(home) as scene:
        client: Any = await scene.client()
        yield scene, client


@asynccontextmanager
async def left_running(home: Path) -> AsyncIterator[tuple[WorkerScene, OneBuildKit]]:
    """A build that runs for a while, whose launcher has disconnected."""
    kit = OneBuildKit()
    kit.document = {"platform": "fake", "run_for": 0.3}
    async with worker(home, kit) as (scene, first):
        await dispatch(first)
        await scene.until_state("running")
        await first.disconnect()
        yield scene, kit


async def state(client: LauncherClient) -> dict[str, Any]:
    await client.send(type="state-query", buildId=BUILD)
    return await client.message()


async def status(client: LauncherClient) -> str:
    return str((await state(client))["status"])


async def dispatch(client: LauncherClient, **more: Any) -> None:
    await client.send(**{"type": "dispatch", "buildId": BUILD, "job": {}} | more)


def draining(scene: WorkerScene) -> str:
    """Why the worker takes nothing more; empty while it does."""
    queue: Any = scene.worker.services.queue
    return str(queue.fit.why)


def test_a_build_is_dispatched_and_its_success_is_told_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with worker(tmp_path) as (_, client):
            assert await state(client) == {"type": "state-response", "status": "new"} | NAMES
            await dispatch(client)
            assert await client.message() == {"type": "success"} | NAMES
            assert await state(client) == {"type": "state-response", "status": "success"} | NAMES

    asyncio.run(main())


def test_a_job_run_has_its_own_id(tmp_path: Path) -> None:
    async def main() -> None:
        async with worker(tmp_path) as (_, client):
            await dispatch(client, jobType="jobRun", buildId="another", jobRunId=BUILD)
            assert (await client.message())["type"] == "success"

    asyncio.run(main())


def test_a_failure_is_told_with_its_code_message_and_phase(tmp_path: Path) -> None:
    async def main() -> None:
        kit = OneBuildKit()
        kit.document = {"platform": "fake", "exit_code": 3}
        async with worker(tmp_path, kit) as (_, client):
            await dispatch(client)
            message = await client.message()
            assert message.keys() == {"type", "externalBuildError", *NAMES}
            assert message["externalBuildError"]["errorCode"] == "UNKNOWN_ERROR"
            assert "3" in message["externalBuildError"]["message"]
            assert await state(client) == {**message, "type": "state-response", "status": "error"}

    asyncio.run(main())


def test_a_malformed_job_is_the_error_of_its_owner_and_names_each_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with worker(tmp_path) as (scene, client):
            await dispatch(client, job={"steps": [{"run": 1}, {"uses": "x"}]})
            error = (await client.message())["externalBuildError"]
            assert error["errorCode"] == "MALFORMED_PAYLOAD"
            assert "job.steps[0].run" in error["message"]
            assert "job.steps[1].run" in error["message"]
            assert not scene.platform.backend.runs

    asyncio.run(main())


def test_messages_about_other_builds_and_repeats_are_ignored(tmp_path: Path) -> None:
    async def main() -> None:
        kit = OneBuildKit()
        kit.document = FOREVER
        async with worker(tmp_path, kit) as (scene, client):
            await client.send(type="state-query", buildId="another")
            await dispatch(client, buildId="another")
            assert await status(client) == "new"
            await dispatch(client)
            await dispatch(client)
            await scene.until_state("running")
            assert await status(client) == "in-progress"
            assert len(scene.platform.backend.runs) == 1

    asyncio.run(main())


@pytest.mark.parametrize("reason", ["cancel", "timeout"])
def test_an_abort_stops_the_work_and_nothing_follows_it(reason: str, tmp_path: Path) -> None:
    async def main() -> None:
        kit = OneBuildKit()
        kit.document = FOREVER
        async with worker(tmp_path, kit) as (scene, client):
            await dispatch(client)
            run = await scene.until_state("running")
            await client.send(type="abort", reason=reason)
            assert await state(client) == NAMES | {
                "type": "state-response",
                "status": "aborted",
                "abortReason": reason,
            }
            assert await client.message() == {"type": "aborted", "reason": reason}
            await scene.until_over()
            assert scene.platform.alive == []
            assert scene.seen.endings[run].reason == "canceled"
            await client.send(type="abort", reason="cancel")
            await dispatch(client)
            assert (await state(client))["abortReason"] == reason

    asyncio.run(main())


def test_an_abort_before_the_dispatch_prevents_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with worker(tmp_path) as (scene, client):
            await client.send(type="abort", reason="timeout")
            assert await client.message() == {"type": "aborted", "reason": "timeout"}
            await dispatch(client)
            assert await status(client) == "aborted"
            assert not scene.platform.backend.runs

    asyncio.run(main())


def test_an_abort_after_the_end_is_ignored(tmp_path: Path) -> None:
    async def main() -> None:
        async with worker(tmp_path) as (_, client):
            await dispatch(client)
            assert (await client.message())["type"] == "success"
            await client.send(type="abort", reason="cancel")
            assert await status(client) == "success"

    asyncio.run(main())


def test_a_build_outlives_its_connection_and_a_later_launcher_gets_the_result(tmp_path: Path) -> None:
    async def main() -> None:
        async with left_running(tmp_path) as (scene, kit):
            await scene.until_over()
            second = await kit.connect()
            assert await state(second) == {"type": "state-response", "status": "success"} | NAMES
            await second.disconnect()

    asyncio.run(main())


def test_a_launcher_that_takes_over_in_the_middle_is_told_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with left_running(tmp_path) as (_, kit):
            second = await kit.connect()
            assert await status(second) == "in-progress"
            assert await second.message() == {"type": "success"} | NAMES
            await second.disconnect()

    asyncio.run(main())


def test_a_second_launcher_is_closed_and_the_first_stays(tmp_path: Path) -> None:
    async def main() -> None:
        kit = OneBuildKit()
        async with worker(tmp_path, kit) as (_, first):
            second = await kit.connect()
            with pytest.raises(ConnectionClosed) as caught:
                await second.message()
            assert (caught.value.rcvd and caught.value.rcvd.reason) == "another launcher is connected"
            assert await status(first) == "new"

    asyncio.run(main())


def test_a_launcher_that_is_given_up_makes_room_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends what ends a connection, as silence does, and does not end its side of it."""
    monkeypatch.setattr(websocket_port, "CLOSE_TIMEOUT", LIMIT)

    async def main() -> None:
        kit = OneBuildKit()
        async with asyncio.timeout(LIMIT), kit.working(tmp_path) as scene:
            await (await scene.client()).disconnect()
            reader, writer = await asyncio.open_connection("127.0.0.1", kit.port)
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"\x81\x01x")  # a frame that is not masked
            await reader.read()  # until the worker has given it up
            second = await kit.connect()
            assert await status(second) == "new"
            await second.disconnect()
            writer.transport.abort()

    asyncio.run(main())


@pytest.mark.parametrize("document", [{"platform": "fake"}, FOREVER, None])
def test_a_close_ends_the_connection_the_work_and_the_worker(document: dict[str, Any] | None, tmp_path: Path) -> None:
    async def main() -> None:
        kit = OneBuildKit()
        kit.document = document or {}
        async with worker(tmp_path, kit) as (scene, client):
            if document:
                await dispatch(client)
                await scene.until_state("running")
            await client.send(type="close")
            await client.connection.wait_closed()
            await scene.until(lambda: "has said `close`" in draining(scene))
            await scene.until(lambda: scene.platform.alive == [])

    asyncio.run(main())


def test_a_worker_that_is_started_again_knows_how_its_build_ended(tmp_path: Path) -> None:
    async def main() -> None:
        async with worker(tmp_path) as (_, client):
            await dispatch(client)
            assert (await client.message())["type"] == "success"
        async with worker(tmp_path) as (scene, client):
            await dispatch(client)
            assert await status(client) == "success"
            assert not scene.platform.backend.runs

    asyncio.run(main())


def test_a_worker_without_a_close_is_reported_and_stops_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(build_module, "HANGING", 0.1)

    async def main() -> None:
        async with worker(tmp_path, OneBuildKit(close_timeout=0.2)) as (scene, client):
            await dispatch(client)
            await scene.until(lambda: "nobody has said `close`" in draining(scene))
            assert "this worker may be hanging" in caplog.text

    asyncio.run(main())


# ---- frames -----------------------------------------------------------------------------------------------


def test_each_malformed_frame_is_reported_and_the_next_one_is_handled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="taskrunner.queues.launcher")

    async def main() -> None:
        kit = OneBuildKit()
        async with worker(tmp_path, kit) as (_, client):
            for frame, _ in MALFORMED.values():
                await client.connection.send(frame)
                assert await status(client) == "new"
            await dispatch(client)
            assert (await client.message())["type"] == "success"

    asyncio.run(main())
    reported = [record for record in caplog.records if "malformed frame" in record.getMessage()]
    assert len(reported) == MOST_WARNINGS < len(MALFORMED)
    assert "hunter2" not in caplog.text


# ---- who gets in ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "admitted"),
    [
        ("/?expo_vm_name=vm-7", True),
        ("/?expo_vm_name=vm-7.example", True),
        ("/any/path?a=b&expo_vm_name=vm", True),
        ("/", False),
        ("/?expo_vm_name=", False),
        ("/?expo_vm_name=VM-7", False),
        ("/?expo_vm_name=m-7", False),
        ("/?expo_vm_name=vm-7.example.org", False),
        ("/?expo_vm_name=vm-7&expo_vm_name=x", False),
        ("//[?expo_vm_name=vm-7", False),
    ],
)
def test_a_launcher_knows_the_begin_of_the_host_name(path: str, admitted: bool) -> None:
    assert admits(path, "vm-7.example") == admitted
    assert admits(path, "")


def test_a_launcher_of_another_machine_is_closed_as_unauthorized(tmp_path: Path) -> None:
    async def main() -> None:
        kit = OneBuildKit(host_name="vm-7")
        async with worker(tmp_path, kit) as (_, client):
            with pytest.raises(ConnectionClosed) as caught:
                await client.message()
            assert caught.value.rcvd
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1008, "Unauthorized")
            known = await LauncherClient.connect(f"ws://127.0.0.1:{kit.port}/x?expo_vm_name=vm")
            assert await status(known) == "new"
            await known.disconnect()

    asyncio.run(main())
