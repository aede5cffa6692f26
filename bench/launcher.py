"""The worker of a launcher, against a bare server of `websockets`.

    python bench/launcher.py

From `dispatch` to the first instruction of the first step, each on a worker of its own, since a worker has one build,
against a bare server that spawns; and the memory of 200 launchers beside the one that is connected, which are refused
and do not hang up. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from tests.support.ports import free_port

WORKERS = 9
MAX_START = 0.050
"""Seconds from the dispatch to the start of the first step, at the median."""

CONNECTIONS = 200
MAX_MEMORY = 20 << 20
"""Bytes for all of these together."""

QUIET = 2.0
"""Seconds for a worker to have booted, and to have warmed up."""

UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
REQUEST = f"GET /?expo_vm_name={socket.gethostname()} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n{KEY}\r\n\r\n".encode()


@asynccontextmanager
async def worker(port: int) -> AsyncIterator[tuple[ClientConnection, psutil.Process]]:
    """With a home of its own, as an operator starts it."""
    with tempfile.TemporaryDirectory() as home:
        command = [Path(sys.executable).with_name("taskrunner"), "run", "--queue"]
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "TASKRUNNER_HOME": f"{home}/home"}
        url = f"launcher://127.0.0.1:{port}?build_id=b"
        running = await asyncio.create_subprocess_exec(
            *command, url, cwd=home, env=env, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with await connected(port) as client:
                await asyncio.sleep(QUIET)
                yield client, psutil.Process(running.pid)
        finally:
            running.terminate()
            await asyncio.wait_for(running.wait(), 60)


async def connected(port: int) -> ClientConnection:
    async with asyncio.timeout(60):
        while True:
            try:
                return await connect(f"ws://127.0.0.1:{port}/?expo_vm_name={socket.gethostname()}", compression=None)
            except OSError:
                await asyncio.sleep(0.05)


async def start_time(client: ClientConnection, folder: Path) -> float:
    """Seconds from the dispatch to the first instruction of the step."""
    file = folder / "started"
    job = {"steps": [{"run": f"date +%s%N >{file}"}]}
    began = time.time_ns()
    await client.send(json.dumps({"type": "dispatch", "buildId": "b", "job": job}))
    async with asyncio.timeout(60):
        assert json.loads(await client.recv())["type"] == "success"
    return (int(file.read_text()) - began) / 1e9


async def bare(connection: ServerConnection) -> None:
    async for frame in connection:
        [step] = json.loads(frame)["job"]["steps"]
        running = await asyncio.create_subprocess_exec("/bin/bash", "-c", step["run"])
        await running.wait()
        await connection.send('{"type": "success"}')


async def push(folder: Path) -> bool:
    ours, theirs = [], []
    async with serve(bare, "127.0.0.1", port := free_port()), await connected(port) as peer:
        for _ in range(WORKERS):
            async with worker(free_port()) as (client, _running):
                ours.append(await start_time(client, folder))
            theirs.append(await start_time(peer, folder))
    mine, bare_ms = (statistics.median(each) * 1000 for each in (ours, theirs))
    print(f"dispatch to process start: {mine:.1f} ms, bare {bare_ms:.1f} ms, ratio {mine / bare_ms:.1f}")
    return mine <= MAX_START * 1000


async def idle() -> bool:
    async with worker(port := free_port()) as (client, running), AsyncExitStack() as stack:
        before = running.memory_info().rss
        most = 0
        for _ in range(CONNECTIONS):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.transport.abort)
            writer.write(REQUEST)
            most = max(most, running.memory_info().rss)
        await client.send(json.dumps({"type": "state-query", "buildId": "b"}))
        assert json.loads(await client.recv())["status"] == "new"
        most = max(most, running.memory_info().rss)
    print(f"{CONNECTIONS} connections that are refused and stay: {(most - before) / (1 << 20):.1f} MiB")
    return most - before < MAX_MEMORY


async def main() -> int:
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        met = [await push(Path(folder)), await idle()]
    print(f"load average {os.getloadavg()[0]:.1f}")
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
