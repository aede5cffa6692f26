"""A worker inside a program: the platform of engine.py, a queue in memory, and one task."""

import asyncio

from engine import greet

from taskrunner import Config, MemoryQueue, StopCondition, Submission, home, run_worker
from taskrunner_standalone import StandaloneHost


async def main() -> None:
    queue = MemoryQueue("me")
    await queue.submit(Submission("hello", {"platform": "greeting", "who": "world"}))
    await run_worker(
        Config(),
        StandaloneHost(),
        home(),
        stop_when=StopCondition(tasks=1),
        queue=queue.join,
        plugins={"greeting": greet},
    )
    print((await queue.status("hello")).resolution)


asyncio.run(main())
