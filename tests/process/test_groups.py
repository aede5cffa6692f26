"""No process of a run is alive when the run is over, whatever it did to escape."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.interfaces.platform import PlatformContext
from taskrunner.model import RunKey
from taskrunner.testing.fakes.log import MemoryLog
from taskrunner_process import ProcessPlatform
from taskrunner_process.child import Start, spawn
from taskrunner_process.groups.cgroup import ControlGroup
from taskrunner_process.groups.portable import PortableGroup, PortableGroups
from taskrunner_process.groups.process_group import UNLIMITED, ProcessGroup
from taskrunner_process.groups.run_limit import RunLimit
from tests.process.process_bench import GROUPS, KINDS, Bench, alive, bench_on, descriptors, executable, groups_of, token
from tests.support.control_groups import control_groups

DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 256)
time.sleep(float(sys.argv[1]))
"""
BOMB = """
import os, sys, time
for _ in range(7):
    os.fork()
    os.setsid() if os.getpid() != os.getsid(0) else None
print("boom", flush=True)
time.sleep(float(sys.argv[1]))
"""
RESTLESS = """
import os, sys
for _ in range(5):
    os.fork()
while True:
    if os.fork(): os._exit(0)
    os.setsid()
"""

WAYS_TO_ESCAPE = {
    "background": "sleep {0} &",
    "own-session": "setsid sleep {0} &",
    "twice-forked": "(setsid sh -c 'sleep {0} & sleep {0} & wait' &)",
    "ignores-signals": "(trap '' TERM INT HUP QUIT; sleep {0}; sleep {0}) &",
    "daemon": "{1} -c '{2}' {0}",
    "no-hangup": "nohup sleep {0} >/dev/null 2>&1 </dev/null &",
    "stopped": "sleep {0} & kill -STOP $!",
    "without-environment": "env -i sleep {0} &",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS_TO_ESCAPE)
def test_nothing_outlives_the_end_of_the_command(kind: str, way: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            results = await bench.shell(script + "\necho last; exit 3")
            assert (results.exit_code, bench.text) == (3, "last\n")
            assert alive(word) == []

    word = token()
    script = WAYS_TO_ESCAPE[way].format(word, sys.executable, DAEMON)
    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS_TO_ESCAPE)
def test_nothing_outlives_a_kill(kind: str, way: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            execution = await bench.start("sh", "-c", f"{script}\necho up; sleep {word}; sleep {word}")
            assert isinstance(bench.log, MemoryLog)
            await bench.log.until("up")
            results = await execution.kill()
            assert (results.exit_code, bench.text) == (137, "up\n")
            assert alive(word) == []

    word = token()
    script = WAYS_TO_ESCAPE[way].format(word, sys.executable, DAEMON)
    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_bomb_is_killed_while_it_goes_off(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            execution = await bench.start(sys.executable, "-c", BOMB, word)
            assert isinstance(bench.log, MemoryLog)
            await bench.log.until("boom")  # the first of 128
            await execution.kill()
            assert alive(word) == []

    word = token()
    asyncio.run(run())


@pytest.mark.parametrize("kind", GROUPS)
def test_a_process_that_forks_and_exits_all_the_time_is_killed(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            await bench.run(sys.executable, "-c", RESTLESS, word)
            assert alive(word) == []

    word = token()
    asyncio.run(run())


@pytest.mark.parametrize("kind", GROUPS)
def test_a_control_group_holds_processes_without_a_marker(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            await bench.shell(f"(env -i setsid sh -c 'sleep {word} & sleep {word} & wait' &)\necho last")
            assert alive(word) == []

    word = token()
    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_other_runs_stay_alive(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            staying = await bench.start("sh", "-c", f"(setsid sleep {other} &) ; echo up; sleep {other}")
            assert isinstance(bench.log, MemoryLog)
            await bench.log.until("up")
            await bench.shell(f"(setsid sleep {word} &)")
            assert alive(word) == []
            assert len(alive(other)) >= 2
            await staying.abort()
            assert alive(other) == []

    word, other = token(), token()
    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_does_not_die_is_named(kind: str, tmp_path: Path) -> None:
    groups = groups_of(kind, tmp_path)
    group = groups.open_group("stubborn")
    null = os.open(os.devnull, os.O_RDWR)
    start = Start(["sleep", token()], {"PATH": os.environ["PATH"]}, tmp_path, None, null, null, null)
    process = spawn(start, group)
    with pytest.raises(TaskFailedInternally, match=rf"process {process.pid}\. It waits in the kernel"):
        group.end(limit=-1)
    group.end()
    assert process.wait() == -signal.SIGKILL
    group.close()
    groups.close()


def context_of(home: Path) -> PlatformContext:
    return PlatformContext("w1", home, lambda secret: secret.literal)


class SlowGroup(PortableGroup):
    """Its first process starts when `release` is set."""

    def __init__(self) -> None:
        super().__init__("slow/0@w1")
        self.release, self.ended = threading.Event(), threading.Event()

    @contextmanager
    def entered(self) -> Iterator[bool]:
        self.release.wait()
        yield False

    def close(self) -> None:
        if self.known:
            self.ended.set()


class SlowGroups(PortableGroups):
    def __init__(self, group: SlowGroup) -> None:
        super().__init__("w1")
        self._slow = group

    def open_group(self, run: str, limit: RunLimit = UNLIMITED) -> SlowGroup:
        return self._slow


def test_a_process_that_starts_after_the_limit_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        platform = ProcessPlatform(context_of(tmp_path), SlowGroups(slow), None)
        before = descriptors()
        with pytest.raises(TaskFailedInternally, match=r"^starting a process took longer than 0\.01 s$"):
            await Bench(platform, tmp_path).start("sleep", word)
        slow.release.set()
        await asyncio.to_thread(slow.ended.wait)
        assert slow.known
        assert alive(word) == []
        assert descriptors() == before

    monkeypatch.setattr("taskrunner_process.launcher.SPAWN_TIME", 0.01)
    slow, word = SlowGroup(), token()
    asyncio.run(run())


class FullGroups(PortableGroups):
    def open_group(self, run: str, limit: RunLimit = UNLIMITED) -> ProcessGroup:
        raise OSError(errno.ENOSPC, "no space left")


def test_a_group_that_cannot_be_made_is_named_and_leaves_no_descriptor(tmp_path: Path) -> None:
    async def run() -> None:
        bench = Bench(ProcessPlatform(context_of(tmp_path), FullGroups("w1"), None), tmp_path)
        before = descriptors()
        with pytest.raises(TaskFailedInternally, match=r"no process group could be made: .*no space left"):
            await bench.start("true")
        assert descriptors() == before

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_no_groups_and_no_descriptors_are_left(kind: str, tmp_path: Path) -> None:
    async def run() -> set[str]:
        async with bench_on(kind, tmp_path, worker_id="tidy/worker") as bench:
            await bench.shell("true")
            before = descriptors()
            for _ in range(5):
                results = await bench.shell("sleep 1000000 & echo x")
                await results.dispose()
            await (await bench.start("sleep", "1000000")).abort()
            return descriptors() - before

    assert asyncio.run(run()) == set()
    assert control_groups("*tidy*") == []


ABANDONING = """
import asyncio, sys
from pathlib import Path
from tests.process.process_bench import bench_on

async def run():
    async with bench_on(sys.argv[1], Path(sys.argv[2]), worker_id=sys.argv[4]) as bench:
        word = sys.argv[3]
        script = f"setsid sleep {word} & (setsid sh -c 'sleep {word} & sleep {word} & wait' &) ; echo up; sleep {word}"
        execution = await bench.start("sh", "-c", script)
        await bench.log.until("up")
        print("up", flush=True)
        await execution.wait()

asyncio.run(run())
"""


@pytest.mark.parametrize("kind", KINDS)
def test_processes_of_a_killed_worker_are_ended(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        worker = await asyncio.create_subprocess_exec(
            sys.executable, script, kind, tmp_path, word, f"dead {word}", stdout=asyncio.subprocess.PIPE
        )
        assert worker.stdout
        assert await worker.stdout.readline() == b"up\n"
        worker.kill()
        await worker.wait()
        assert alive(word)
        async with bench_on(kind, tmp_path, worker_id="next") as bench:
            found = await bench.platform.clean_up_after(f"dead {word}")
            assert len(found) >= 3
            assert all(line.startswith("process ") for line in found)
            assert alive(word) == []
            assert await bench.platform.clean_up_after(f"dead {word}") == []

    word = token()
    script = tmp_path / "worker.py"
    executable(script, f"import sys; sys.path.insert(0, {str(Path.cwd())!r})\n" + ABANDONING)
    asyncio.run(run())
    assert control_groups("taskrunner.rdead*") == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_run_has_left_is_ended_and_the_other_runs_of_its_worker_go_on(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path, worker_id=f"w {first}") as bench:
            left = await bench.start("sh", "-c", f"(setsid sleep {first} &); echo up; sleep {first}")
            other = await bench.start("sleep", second)
            assert isinstance(bench.log, MemoryLog)
            await bench.log.until("up")
            found = await bench.platform.clean_up_run(f"w {first}", RunKey("task1", 0))
            assert found
            assert (alive(first), len(alive(second))) == ([], 1)
            assert await bench.platform.clean_up_run(f"w {first}", RunKey("task1", 0)) == []
            assert await bench.platform.clean_up_run(f"w {first}", RunKey("task", 0)) == []
            await left.abort()
            await other.abort()

    first, second = token(), token()
    asyncio.run(run())


@pytest.mark.parametrize("kind", GROUPS)
def test_an_idle_worker_that_was_killed_leaves_a_group_that_the_next_one_removes(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        groups_of(kind, tmp_path, f"idle {word}")  # and never closed
        assert control_groups(f"*{word}*")
        async with bench_on(kind, tmp_path) as bench:
            await bench.platform.clean_up_after(f"idle {word}")
        assert not control_groups(f"*{word}*")

    word = token()
    asyncio.run(run())


@pytest.mark.parametrize("kind", GROUPS)
def test_a_group_that_stays_is_an_error_and_not_a_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path, worker_id=f"w {word}") as bench:
            running = await bench.start("sleep", word)
            with monkeypatch.context() as patch:
                patch.setattr(ControlGroup, "end", refuse)
                with pytest.raises(Unavailable, match=r"control group .* could not be removed"):
                    await bench.platform.clean_up_after(f"w {word}")
            await running.abort()

    def refuse(self: ControlGroup) -> None:
        raise TaskFailedInternally("killed, but still there")

    word = token()
    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_of_one_name_with_homes_of_their_own_do_not_end_each_other(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path / "one") as one, bench_on(kind, tmp_path / "two") as two:
            running = await one.start("sleep", word)
            assert await two.platform.clean_up_after("w1") == []
            assert await two.platform.clean_up_run("w1", RunKey("task1", 0)) == []
            assert len(alive(word)) == 1
            await running.abort()

    word = token()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    asyncio.run(run())
