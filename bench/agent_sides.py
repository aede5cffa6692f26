"""The two sides that `agent.py` compares: a worker that is an agent, and a bare grpc.aio server of the same protocol.

python bench/agent_sides.py PORT        serves as the bare one
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import grpc
import grpc.aio
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from examples.fastlane_server import Agent, Build, State, messages
from taskrunner.interfaces.log import LogOrigin
from taskrunner.queues.agent.log_messages import LogMessages

LINE = b"[12:00:00] Compiling Some/Swift/Module/With/A/Name.swift for iphoneos (arm64)\n"
LOG_SIZE = 50_000_000
"""Bytes of one log: a worker keeps the first 48 MiB and the end of a longer one. Two of them are sent."""
PIECE = 256 << 10
"""Bytes of the log that a worker sends at a time to a caller that is quick."""


def print_log(folder: Path) -> str:
    """A shell command that prints a log. Its output is ready, as the messages of the bare server are."""
    path = folder / "log"
    path.write_bytes((LINE * (LOG_SIZE // len(LINE) + 1))[:LOG_SIZE])
    return f"cat {path}"


@attrs.define
class TimedBuild(Build):
    """A build, and when the first and the last message of its log came."""

    first: float = 0.0
    last: float = 0.0

    @property
    def seconds(self) -> float:
        return self.last - self.first


async def bare_run(request: Any, context: Any) -> None:
    """Spawns the command and streams what it prints; the program `log` stands for messages that are there already."""
    await context.write(messages.InvocationResponse(state=State.RUNNING))
    if request.command.bin == "log":
        for message in _log():
            await context.write(message)
    else:
        process = await asyncio.create_subprocess_exec(
            request.command.bin, *request.command.parameters, stdout=asyncio.subprocess.PIPE
        )
        while piece := await process.stdout.read(PIECE):  # type: ignore[union-attr]  # it has a pipe
            await context.write(messages.InvocationResponse(log={"message": piece.decode()}))
        await process.wait()
    await context.write(messages.InvocationResponse(state=State.SUCCEEDED))


LOG: list[Any] = []


def _log() -> Sequence[Any]:
    """As our agent cuts it."""
    if not LOG:
        data, cutter = LINE * (LOG_SIZE // len(LINE)), LogMessages()
        origin = LogOrigin("stdout", datetime.now(UTC))
        for start in range(0, len(data), PIECE):
            made = cutter.messages(data[start : start + PIECE], origin)
            LOG.extend(map(messages.InvocationResponse.FromString, made))
    return LOG


async def serve_bare(port: int) -> None:
    server = grpc.aio.server()
    method = grpc.unary_stream_rpc_method_handler(
        bare_run, messages.InvocationRequest.FromString, messages.InvocationResponse.SerializeToString
    )
    service = grpc.method_handlers_generic_handler("FastlaneCI.Proto.Agent", {"RunFastlane": method})
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


@asynccontextmanager
async def process(*command: str, env: Mapping[str, str] | None = None) -> AsyncIterator[psutil.Process]:
    running = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield psutil.Process(running.pid)
    finally:
        running.terminate()
        await asyncio.wait_for(running.wait(), 60)


@asynccontextmanager
async def bare(port: int) -> AsyncIterator[Agent]:
    async with process(sys.executable, __file__, str(port)):
        yield await connected(port)


@asynccontextmanager
async def worker(port: int, *arguments: str) -> AsyncIterator[tuple[Agent, psutil.Process]]:
    """With a home of its own, as an operator starts it."""
    with tempfile.TemporaryDirectory() as home:
        command = [str(Path(sys.executable).with_name("taskrunner")), "run", "--queue", f"agent://127.0.0.1:{port}"]
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "TASKRUNNER_HOME": f"{home}/home"}
        async with process(*command, *arguments, env=env) as running:
            yield await connected(port), running


async def connected(port: int) -> Agent:
    agent = Agent(f"127.0.0.1:{port}")
    await asyncio.wait_for(agent.channel.channel_ready(), 60)
    return agent


async def run_build(agent: Agent, build: TimedBuild) -> TimedBuild:
    """As often as the agent rejects it: the slot of the build before may be taken for some milliseconds."""
    while build.states[-1:] != ["SUCCEEDED"]:
        build.states.clear()
        build.log.clear()
        async for message in agent.invoke(build):
            if message.HasField("log"):
                build.last = time.perf_counter()
                build.first = build.first or build.last
        assert build.states[-1] in {"SUCCEEDED", "REJECTED"}, build
    return build


if __name__ == "__main__":
    asyncio.run(serve_bare(int(sys.argv[1])))
