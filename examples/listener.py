"""A listener of python-statemachine on a worker: counts the moves, and the seconds in each state."""

import asyncio
import time
from collections import Counter

from statemachine import State

from taskrunner import Config, StopCondition, home, run_worker
from taskrunner_standalone import StandaloneHost


class Stopwatch:
    """The library calls its methods by their names: after each move, and on entering one state."""

    def __init__(self) -> None:
        self.moves: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self._since = time.monotonic()

    def after_transition(self, event: str, source: State, target: State) -> None:
        now = time.monotonic()
        self.seconds[source.id] += round(now - self._since)
        self.moves[f"{source.id} {event} {target.id}"] += 1
        self._since = now

    def on_enter_paused(self) -> None:
        print("the machine is not fit to take work")


async def main() -> None:
    watch = Stopwatch()
    await run_worker(Config(), StandaloneHost(), home(), stop_when=StopCondition(idle=1.0), listeners=[watch])
    print(*watch.moves, sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
