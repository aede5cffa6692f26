"""An agent, against a bare grpc.aio server of its protocol.

    python bench/agent.py

From a call to the first instruction of its command, on a warm worker whose mirror has the commit, against a bare server
that spawns; 100 MB of log through the stream, against a bare server that has the messages ready, both by turns; the
memory of 200 connections without a call, and that of a caller that does not read. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import grpc.aio
import psutil
from agent_sides import LINE, LOG_SIZE, Agent, TimedBuild, bare, print_log, run_build, worker

from tests.support.githttp import GitServer, make_repository
from tests.support.ports import free_port

WARM_UP, PUSHES = 10, 60
MAX_START = 0.050
"""Seconds from the call to the start of its process, at the median."""

ROUNDS, LOGS = 3, 2
MIN_RATE = 0.5
"""Our rate as a part of the bare server's, at least."""

CONNECTIONS = 200
MAX_MEMORY = 20 << 20
"""Bytes for all of these together."""

MAX_BEHIND = 20 << 20
"""Bytes for a caller that reads nothing of 100 MB."""

NOW = "date +%s%N"


async def start_time(agent: Agent, env: dict[str, str]) -> float:
    """Seconds from the call to the first instruction of the command."""
    began = time.time_ns()
    build = await run_build(agent, TimedBuild(["sh", "-c", NOW], env))
    [started] = [line for line in build.log if line.strip().isdigit()]
    return (int(started) - began) / 1e9


async def push(ours: Agent, peer: Agent, env: dict[str, str]) -> bool:
    times: dict[str, list[float]] = {"agent": [], "bare": []}
    for number in range(WARM_UP + PUSHES):
        for name, agent in (("agent", ours), ("bare", peer)):
            seconds = await start_time(agent, env)
            if number >= WARM_UP:
                times[name].append(seconds)
    ms = {name: statistics.median(each) * 1000 for name, each in times.items()}
    print(
        f"push to process start: {ms['agent']:.1f} ms, bare {ms['bare']:.1f} ms, ratio {ms['agent'] / ms['bare']:.1f}"
    )
    return ms["agent"] <= MAX_START * 1000


async def rate(agent: Agent, build: TimedBuild) -> float:
    """Bytes of log a second, from the first message of a log to its last: what comes before and after is no stream."""
    seconds, size = 0.0, 0
    for _ in range(LOGS):
        streamed = await run_build(agent, attrs.evolve(build, states=[], log=[]))
        seconds += streamed.seconds
        size += sum(map(len, streamed.log))
    assert size >= LOGS * LOG_SIZE * 0.99
    return LOGS * LOG_SIZE / seconds


async def log(ours: Agent, peer: Agent, env: dict[str, str], prints: str) -> bool:
    await rate(peer, TimedBuild(["log"], env))  # makes its messages
    ratios = []
    for _ in range(ROUNDS):
        mine = await rate(ours, TimedBuild(["sh", "-c", prints], env))
        theirs = await rate(peer, TimedBuild(["log"], env))
        ratios.append(mine / theirs)
        print(f"log: {mine / 1e6:.0f} MB/s, bare {theirs / 1e6:.0f} MB/s, ratio {ratios[-1]:.2f}")
    return statistics.median(ratios) >= MIN_RATE


async def idle(port: int, running: psutil.Process) -> bool:
    before = running.memory_info().rss
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options))
            await channel.channel_ready()
        grown = running.memory_info().rss - before
    print(f"{CONNECTIONS} idle connections: {grown / (1 << 20):.1f} MiB")
    return grown < MAX_MEMORY


async def slow_reader(agent: Agent, running: psutil.Process, env: dict[str, str], prints: str, done: Path) -> bool:
    """The task ends while its caller reads nothing; afterwards the caller gets all that the worker keeps of 100 MB."""
    before = running.memory_info().rss
    build = TimedBuild(["sh", "-c", f"{prints}; {prints}; touch {done}"], env)
    messages = agent.invoke(build)
    await anext(messages)
    began, most = time.perf_counter(), 0
    while not done.exists():  # noqa: ASYNC240  a file in memory
        await asyncio.sleep(0.01)
        most = max(most, running.memory_info().rss - before)
    print(f"a caller that reads nothing: the task ends after {time.perf_counter() - began:.1f} s", end="; ")
    async for _ in messages:
        most = max(most, running.memory_info().rss - before)
    got = sum(map(len, build.log))
    marked = any("bytes left out" in text for text in build.log)
    print(f"the worker grows by {most / (1 << 20):.1f} MiB; the caller gets {got / 1e6:.0f} MB, then a mark: {marked}")
    return most < MAX_BEHIND and marked


async def main() -> int:
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; lines of {len(LINE)} bytes")
    with tempfile.TemporaryDirectory() as folder, GitServer(Path(folder)) as git:
        sha = make_repository(Path(folder) / "app", {"page.txt": "A page.\n"})
        env = {"GIT_URL": git.url("app"), "GIT_SHA": sha}
        port, prints = free_port(), print_log(Path(folder))
        async with worker(port) as (ours, running), bare(free_port()) as peer:
            met = [
                await push(ours, peer, env),
                await log(ours, peer, env, prints),
                await slow_reader(ours, running, env, prints, Path(folder) / "done"),
                await idle(port, running),
            ]
            for agent in (ours, peer):
                await agent.close()
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
