"""A run keeps to its memory, CPUs and processes, or is refused; nothing of its control groups is left."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from taskrunner.amounts import Amounts
from taskrunner.errors import Unavailable
from taskrunner.interfaces.execution import Exec
from taskrunner.schema.decode import decode
from taskrunner_process import ProcessPayload
from taskrunner_process.groups.cgroup_files import around_name
from taskrunner_process.groups.limit_v2 import LimitV2, find_base
from tests.process.process_bench import KINDS, LIMITING, alive, bench_on, token
from tests.support.control_groups import control_groups
from tests.support.queue_processes import until

MIB = 1 << 20
HUNGRY = f"{sys.executable} -c 'x = bytearray(200 << 20)'"
UNABLE = [kind for kind in KINDS if kind not in LIMITING]
"""Also version 2, on a machine whose controllers are those of version 1."""


NUMBERS = {
    "cgroup-v1": {"memory.limit_in_bytes": str(64 * MIB), "cpu.cfs_quota_us": "50000", "pids.max": "7"},
    "cgroup-v2": {"memory.max": str(64 * MIB), "cpu.max": "50000 100000", "pids.max": "7"},
}
"""The files that keep a run to 64 MiB, half a CPU and 7 processes."""


LIMITED_BY = {"cgroup-v1": {"memory": "rtask1%2F0", "cpu": "rtask1%2F0"}, "cgroup-v2": {"": around_name("task1/0")}}
"""The group by which the first run of a bench is limited, in the hierarchy of each controller."""


def groups_named(word: str) -> list[Path]:
    return control_groups(f"taskrunner.*{word}*")


async def output_of(command: Exec) -> str:
    text = b"".join([piece async for piece in command.stdout])
    await command.wait()
    return text.decode()


@pytest.mark.parametrize("kind", LIMITING)
def test_the_groups_have_the_numbers_of_the_task(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path, worker_id=f"w{word}") as bench:
            bench.resources = Amounts(memory=64 * MIB, cpus=0.5, pids=7, named={"gpu": 1})
            running = await bench.start("sleep", word)
            for name, number in NUMBERS[kind].items():
                found = {file.read_text().strip() for folder in groups_named(word) for file in folder.rglob(name)}
                assert number in found, name
            await running.abort()
            assert [path for folder in groups_named(word) for path in folder.iterdir() if path.is_dir()] == []
        assert groups_named(word) == []

    word = token()
    asyncio.run(run())


@pytest.mark.parametrize("kind", LIMITING)
@pytest.mark.parametrize(("script", "code"), [(f"exec {HUNGRY}", 137), (f"{HUNGRY}; exit 3", 3)])
def test_a_run_without_memory_names_limit_and_peak(kind: str, tmp_path: Path, script: str, code: int) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            bench.resources = Amounts(memory=64 * MIB)
            results = await bench.shell(script)
            assert (results.exit_code, results.reason) == (code, "out-of-memory")
            assert re.search(r"its peak was (63\.\d+|64)MiB .*, its limit is 64MiB \(67108864 bytes\)", results.message)
            await results.dispose()
            well = await bench.shell("exit 5")
            assert (well.exit_code, well.reason) == (5, "")
            await well.dispose()

    asyncio.run(run())


@pytest.mark.parametrize("kind", LIMITING)
def test_a_step_without_memory_names_limit_and_peak(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            bench.resources = Amounts(memory=64 * MIB)
            steps = ({"name": "good", "run": "true"}, {"name": "hungry", "run": HUNGRY})
            engine = await bench.loaded(decode(ProcessPayload, {"steps": steps}))
            results = await (await engine.start({})).wait()
            assert (results.exit_code, results.reason) == (137, "out-of-memory")
            assert "hungry" in results.message
            assert "its limit is 64MiB" in results.message
            await results.dispose()

    asyncio.run(run())


@pytest.mark.parametrize("kind", LIMITING)
def test_a_run_has_no_more_processes_than_it_may(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            bench.resources = Amounts(pids=4)
            results = await bench.shell("for i in 1 2 3 4 5 6; do sleep 60 & done; echo never")
            assert results.exit_code
            assert "fork" in bench.text
            assert "never" not in bench.text
            await results.dispose()
            bench.resources = Amounts(pids=1)
            alone = await bench.run("echo", "alone")
            assert (alone.exit_code, "alone" in bench.text) == (0, True)
            await alone.dispose()

    asyncio.run(run())


@pytest.mark.parametrize("kind", LIMITING)
def test_a_further_command_is_in_the_same_limit(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            bench.resources = Amounts(memory=64 * MIB, cpus=1, pids=5)
            running = await bench.start("sh", "-c", "cat /proc/self/cgroup > own; sleep 60 & sleep 60 & wait")
            inside = await output_of(
                await running.new_exec(["sh", "-c", "until test -s own; do :; done; cat own /proc/self/cgroup"])
            )
            for controller, name in LIMITED_BY[kind].items():
                paths = [line for line in inside.splitlines() if line.split(":")[1].split(",")[0] == controller]
                assert [path.count(f"/{name}") for path in paths] == [1, 1]
            crowd = await running.new_exec(
                ["sh", "-c", "for i in 1 2 3; do sleep 60 > /dev/null 2>&1 & done; echo never"]
            )
            assert "never" not in await output_of(crowd)
            await running.abort()

    asyncio.run(run())


@pytest.mark.parametrize("kind", UNABLE)
def test_a_worker_that_cannot_limit_refuses_by_name(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            bench.resources = Amounts(memory=64 * MIB, pids=5)
            with pytest.raises(Unavailable, match=r"resources\.memory, resources\.pids: this worker cannot limit"):
                await bench.engine("true")
            bench.resources = Amounts(named={"gpu": 1})
            engine = await bench.engine("true")
            await engine.discard()

    asyncio.run(run())


@pytest.mark.parametrize("kind", LIMITING)
def test_the_groups_of_a_killed_worker_are_removed(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            DYING,
            kind,
            tmp_path,
            word,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": "."},
        )
        assert worker.stdout
        assert await worker.stdout.readline() == b"up\n"
        worker.kill()
        await worker.wait()
        until(lambda: len(alive(word)) == 3)
        assert len(groups_named(word)) == (3 if kind == "cgroup-v1" else 1)
        async with bench_on(kind, tmp_path, worker_id="next") as bench:
            found = await bench.platform.clean_up_after(f"dead{word}")
            assert len(found) == 3
        assert groups_named(word) == []

    word = token()
    asyncio.run(run())


DYING = """
import asyncio, sys
from pathlib import Path
from taskrunner.amounts import Amounts
from tests.process.process_bench import bench_on

async def run(kind, home, word):
    async with bench_on(kind, Path(home), worker_id=f"dead{word}") as bench:
        bench.resources = Amounts(memory=64 << 20, cpus=1, pids=5)
        await bench.start("sh", "-c", f"sleep {word} & sleep {word}")
        print("up", flush=True)
        await asyncio.sleep(3600)

asyncio.run(run(*sys.argv[1:]))
"""


# ---- version 2, whose controllers this machine may have none of: by the files that its kernel has -------


def test_limits_of_version_2(tmp_path: Path) -> None:
    of_worker = tmp_path / "taskrunner.rw1"
    (of_worker / around_name("t/0")).mkdir(parents=True)
    around = of_worker / around_name("t/0")
    (around / "memory.swap.max").write_text("max\n")
    limit = LimitV2("t/0", Amounts(memory=64 * MIB, cpus=1.5, pids=9), of_worker)
    limit.make()
    assert limit.around == around
    assert {file.name: file.read_text() for file in (*around.iterdir(), of_worker / "cgroup.subtree_control")} == {
        "cgroup.subtree_control": "+memory +cpu +pids",
        "memory.max": "67108864",
        "memory.swap.max": "0",
        "cpu.max": "150000 100000",
        "pids.max": "9",
    }


@pytest.mark.parametrize(
    ("events", "peak", "words"),
    [
        (
            "low 0\nhigh 0\nmax 36\noom 1\noom_kill 1\noom_group_kill 0\n",
            "67100672\n",
            "its peak was 64MiB (67100672",
        ),
        ("low 0\nhigh 0\nmax 36\noom 1\noom_kill 1\n", "", "its peak was 64MiB (67108864"),
        ("low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\noom_group_kill 0\n", "67108864\n", ""),
    ],
    ids=["linux-6.1", "linux-5.15", "near-miss"],
)
def test_memory_of_version_2(tmp_path: Path, events: str, peak: str, words: str) -> None:
    around = tmp_path / around_name("t/0")
    around.mkdir()
    (around / "memory.events").write_text(events)
    if peak:
        (around / "memory.peak").write_text(peak)
    story = LimitV2("t/0", Amounts(memory=64 * MIB), tmp_path).out_of_memory()
    assert story.startswith("the run ran out of memory") == bool(words)
    assert words in story


def test_where_groups_of_version_2_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group with processes hands no controllers down; systemd marks the one that it has delegated."""
    own = tmp_path / "worker.service" / "worker"
    own.mkdir(parents=True)
    (own / "cgroup.subtree_control").mkdir()  # a file that cannot be written, also by root
    (own.parent / "cgroup.subtree_control").write_text("")
    with pytest.raises(LookupError, match="DelegateSubgroup=worker"):
        find_base(own, ["memory"])
    monkeypatch.setattr(os, "getxattr", lambda *_: b"1")
    assert find_base(own, ["memory", "pids"]) == own.parent
    assert (own.parent / "cgroup.subtree_control").read_text() == "+memory +pids"
