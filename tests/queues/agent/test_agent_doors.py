"""What a hostile caller can do to the port of an agent, each with what it gets. The worker runs a task afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import grpc
import grpc.aio
import pytest
from hpack import Encoder
from hyperframe.frame import ContinuationFrame, Frame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from examples.fastlane_server import State, messages
from taskrunner.testing.conformance.push_source.harness import WorkerScene
from tests.support.agent_client import open_channel, run_fastlane
from tests.support.agent_kit import AgentKit

LIMIT = 40.0
RUN_FASTLANE = "/FastlaneCI.Proto.Agent/RunFastlane"
GIT = {"GIT_URL": "https://127.0.0.1:1/app", "GIT_SHA": "0" * 40}


@asynccontextmanager
async def claiming(home: Path) -> AsyncIterator[tuple[WorkerScene, int]]:
    """A worker and its port. In the end it must still take a task, and have nothing else."""
    kit = AgentKit()
    async with asyncio.timeout(LIMIT), kit.working(home) as scene:
        await scene.client()
        yield scene, kit.port
        await scene.until(lambda: scene.worker.services.queue.free == 1)  # type: ignore[attr-defined]
        assert (await scene.story("last")).answer.startswith("completed")


def request(program: str = "x", **env: str) -> bytes:
    made: bytes = messages.InvocationRequest(command={"bin": program, "env": GIT | env}).SerializeToString()
    return made


@attrs.frozen
class Got:
    """The status of a call, the states, and a part of the error."""

    status: grpc.StatusCode = grpc.StatusCode.OK
    states: tuple[str, ...] = ()
    error: str = ""


BROKEN = Got(states=("BROKEN",))
UNREADABLE = attrs.evolve(BROKEN, error="is no InvocationRequest")

MALFORMED: dict[str, tuple[bytes, Got]] = {
    "nothing": (b"", attrs.evolve(BROKEN, error="command.bin: names no program")),
    "an empty command": (b"\x0a\x00", attrs.evolve(BROKEN, error="command.bin: names no program")),
    "a number in place of the command": (b"\x08\x01", attrs.evolve(BROKEN, error="command.bin: names no program")),
    "no program": (request(""), attrs.evolve(BROKEN, error="command.bin: names no program")),
    "no commit": (request(GIT_SHA=""), attrs.evolve(BROKEN, error="command.env.GIT_SHA: is missing")),
    "a path": (request(GIT_URL="/etc"), attrs.evolve(BROKEN, error="command.env.GIT_URL: /etc is not among")),
    "a variable without a name": (request(**{"": "x"}), attrs.evolve(BROKEN, error="env")),
    "a variable with `=`": (request(**{"A=B": "x"}), attrs.evolve(BROKEN, error="env")),
    "a zero byte in a value": (request(A="x\0"), attrs.evolve(BROKEN, error="env.A")),
    "a task beyond the limit": (request(A="x" * (2 << 20)), attrs.evolve(BROKEN, error="larger than 1048576 bytes")),
    "no protobuf": (b"\xff\xff\xff\xff", UNREADABLE),
    "a message that is cut": (request()[:-1], UNREADABLE),
    "a length beyond the end": (b"\x0a\x7f\x0a", UNREADABLE),
    "a text that is no UTF-8": (b"\x0a\x03\x0a\x01\xff", UNREADABLE),
    "a group without an end": (b"\x0b" * 1000, UNREADABLE),
    "a message beyond the limit": (request(A="x" * (4 << 20)), Got(grpc.StatusCode.RESOURCE_EXHAUSTED)),
}


async def outcome(call: Any) -> Got:
    states, error = [], ""
    try:
        async for message in call:
            if message.WhichOneof("message_types") == "state":
                states.append(State.Name(message.state))
            error = error or message.error.description
    except grpc.aio.AioRpcError as failed:
        return Got(failed.code(), tuple(states))
    return Got(await call.code(), tuple(states), error)


def raw_call(channel: grpc.aio.Channel, method: str = RUN_FASTLANE, **options: Any) -> Any:
    return channel.unary_stream(method, None, messages.InvocationResponse.FromString, **options)


def test_each_malformed_message_gets_its_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with claiming(tmp_path) as (_, port), open_channel(port) as channel:
            for name, (sent, expected) in MALFORMED.items():
                got = await outcome(raw_call(channel)(sent))
                assert (got.status, got.error.find(expected.error) >= 0) == (expected.status, True), (name, got)
                assert got.states[-1:] == expected.states, (name, got)

    asyncio.run(main())


def test_what_is_no_call_of_the_protocol_gets_the_status_of_grpc(tmp_path: Path) -> None:
    async def twice() -> AsyncIterator[bytes]:
        yield request()
        yield request()

    async def never() -> AsyncIterator[bytes]:
        for nothing in ():
            yield nothing

    async def main() -> None:
        async with claiming(tmp_path) as (_, port), open_channel(port) as channel:
            read = messages.InvocationResponse.FromString
            unknown = raw_call(channel, "/FastlaneCI.Proto.Agent/RunNothing")(b"")
            assert (await outcome(unknown)).status is grpc.StatusCode.UNIMPLEMENTED
            stream = channel.stream_stream(RUN_FASTLANE, None, read)
            assert (await outcome(stream(never()))).error.startswith("the call has no message")
            assert (await outcome(stream(twice()))).states == ("RUNNING", "BROKEN")  # the first one counts

    asyncio.run(main())


def test_a_message_that_grows_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    """A small one on the wire: 64 MiB of zeros, compressed."""

    async def main() -> None:
        async with claiming(tmp_path) as (_, port), open_channel(port) as channel:
            call = raw_call(channel)(request(A="0" * (64 << 20)), compression=grpc.Compression.Gzip)
            assert (await outcome(call)).status is grpc.StatusCode.RESOURCE_EXHAUSTED

    asyncio.run(main())


def events(scene: WorkerScene, event: str) -> int:
    return sum(move.event == event for _, move in scene.seen.moves)


# ---- connections ------------------------------------------------------------------------------------------


def test_a_flood_of_calls_is_rejected_and_a_flood_of_cancelled_ones_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with claiming(tmp_path) as (scene, port), open_channel(port) as channel:
            holder = await scene.dispatch(run_for=3600, max_run_time=7200)
            await scene.until_state("running")
            calls = [run_fastlane(channel, {"bin": "x", "env": GIT}) for _ in range(500)]
            for got in await asyncio.gather(*map(outcome, calls)):
                assert (got.status, got.states, got.error) == (grpc.StatusCode.OK, ("REJECTED",), "I am busy")
            await holder.disconnect()
            for call in [run_fastlane(channel, {"bin": "x", "env": GIT}) for _ in range(500)]:
                call.cancel()

    asyncio.run(main())


def test_callers_that_read_nothing_hold_no_slot_of_others(tmp_path: Path) -> None:
    """Each runs a task with a log that no buffer holds; its slot is free when the task has ended."""

    async def main() -> None:
        async with claiming(tmp_path) as (scene, _):
            for number in range(2):  # more have to wait until one is given up
                client = await scene.client()
                document = {"platform": "fake", "log": "a line\n" * 9000, "log_every": 0.001, "run_for": 0.1}
                await client.dispatch(f"slow{number}", document)
                await scene.until(lambda count=number + 1: events(scene, "vacated") == count)

    asyncio.run(main())


Speak = Callable[[asyncio.StreamWriter], Awaitable[None]]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", RUN_FASTLANE),
    (":authority", "127.0.0.1"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


async def say(writer: asyncio.StreamWriter, *frames: Frame) -> None:
    writer.write(b"".join(frame.serialize() for frame in frames))
    await writer.drain()


def headers(stream: int, *more: tuple[str, str], flags: tuple[str, ...] = ("END_HEADERS",)) -> HeadersFrame:
    return HeadersFrame(stream, Encoder().encode([*HEADERS, *more]), flags=flags)


async def half_open(writer: asyncio.StreamWriter) -> None:
    writer.write(PREFACE[:10])


async def calls_without_a_message(writer: asyncio.StreamWriter) -> None:
    await say(writer, SettingsFrame(0), *(headers(1 + 2 * number) for number in range(300)))


async def rapid_resets(writer: asyncio.StreamWriter) -> None:
    """CVE-2023-44487."""
    for stream in range(1, 1001, 2):
        await say(writer, headers(stream), RstStreamFrame(stream, error_code=8))


async def endless_headers(writer: asyncio.StreamWriter) -> None:
    """CVE-2024-27316."""
    await say(writer, headers(1, flags=()))
    block = Encoder().encode([("x-more", "y" * 16_000)])
    for _ in range(200):
        await say(writer, ContinuationFrame(1, block))


async def pings(writer: asyncio.StreamWriter) -> None:
    for _ in range(2000):
        await say(writer, PingFrame(0, b"12345678"))


async def settings(writer: asyncio.StreamWriter) -> None:
    """CVE-2019-9515."""
    for _ in range(2000):
        await say(writer, SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 1}))


async def a_frame_beyond_all_limits(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(100_000))


async def no_window(writer: asyncio.StreamWriter) -> None:
    """A call whose answer may never be sent."""
    await say(
        writer,
        SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 0}),
        headers(1, flags=("END_HEADERS", "END_STREAM")),
    )


@pytest.mark.parametrize(
    "speak",
    [
        half_open,
        calls_without_a_message,
        rapid_resets,
        endless_headers,
        pings,
        settings,
        a_frame_beyond_all_limits,
        no_window,
    ],
)
def test_hostile_connections_do_not_keep_out_a_caller_that_tries_again(speak: Speak, tmp_path: Path) -> None:
    async def attack(port: int) -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            if speak is not half_open:
                writer.write(PREFACE + SettingsFrame(0).serialize())
            await asyncio.wait_for(speak(writer), 2.0)
        except (ConnectionError, TimeoutError):
            """It was closed, or is not read any more."""
        return writer

    async def main() -> None:
        async with claiming(tmp_path) as (scene, port):
            writers = await asyncio.gather(*(attack(port) for _ in range(5)))
            while not (story := await scene.story("during")).end:
                """The port was full."""
            assert story.answer.startswith("completed")
            for writer in writers:
                writer.transport.abort()

    asyncio.run(main())
