"""A number that a process of a run had belongs to any other process afterwards, which is never killed for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process.process_bench import KINDS
from tests.support.own_pids import run_in_own_pids

PREAMBLE = """
import asyncio, os, signal, subprocess, sys
from pathlib import Path
from tests.process.process_bench import alive, bench_on, token
from tests.support.own_pids import is_taken, stranger_with
from tests.support.queue_processes import until

kind, home, word = sys.argv[1], Path(sys.argv[2]), token()
"""

IN_A_RUN = """
async def main():
    async with bench_on(kind, home) as bench:
        running = await bench.start("sleep", token())
        command = await running.new_exec(["sh", "-c", f"sleep {word} & echo $$ $!; " + after])
        text = b""
        async for piece in command.stdout:
            text += piece
            if b"\\n" in text:
                break
        if after == "kill $!":
            await command.wait()
        else:
            await command.abort()
        until(lambda: not alive(word))
        strangers = [stranger_with(int(pid)) for pid in text.split()]
        await running.abort()
        print([stranger.poll() for stranger in strangers])

after = sys.argv[3]
asyncio.run(main())
"""

OF_A_DEAD_WORKER = """
DYING = '''
import asyncio, sys
from pathlib import Path
from tests.process.process_bench import bench_on

async def main(kind, home, word):
    async with bench_on(kind, Path(home), worker_id="dead") as bench:
        running = await bench.start("sleep", word)
        print("ready", flush=True)
        await running.wait()

asyncio.run(main(*sys.argv[1:]))
'''

async def main():
    worker = subprocess.Popen([sys.executable, "-c", DYING, kind, home, word], stdout=subprocess.PIPE)
    assert worker.stdout.readline() == b"ready\\n"
    until(lambda: len(alive(word)) == 2)
    numbers = alive(word)
    for pid in numbers:
        os.kill(pid, signal.SIGKILL)
    worker.wait()
    until(lambda: not any(map(is_taken, numbers)))
    strangers = [stranger_with(pid) for pid in numbers]
    assert [stranger.pid for stranger in strangers] == numbers
    async with bench_on(kind, home, worker_id="next") as bench:
        print(await bench.platform.clean_up_after("dead"))
    print([stranger.poll() for stranger in strangers])

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", ["kill $!", "wait"], ids=["ended", "aborted"])
def test_a_command_that_is_over_is_no_reason_to_kill_what_has_its_number(kind: str, after: str, tmp_path: Path) -> None:
    """It was a further command of a run, which goes on for long after it."""
    assert run_in_own_pids(PREAMBLE + IN_A_RUN, kind, tmp_path, after) == "[None, None]\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_dead_worker_is_no_reason_to_kill_what_has_the_numbers(kind: str, tmp_path: Path) -> None:
    """Those of the worker and of its run."""
    assert run_in_own_pids(PREAMBLE + OF_A_DEAD_WORKER, kind, tmp_path) == "[]\n[None, None]\n"
