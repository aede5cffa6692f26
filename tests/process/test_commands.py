"""How a command starts, its environment, its input and output, and its terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from functools import partial
from pathlib import Path

import pytest

from taskrunner.blocking import run_blocking
from taskrunner.errors import MalformedPayload, NotSupported, TaskFailed, TaskFailedInternally
from taskrunner.interfaces.execution import Size
from taskrunner.interfaces.log import Log, LogStream, OutputMasker
from taskrunner.testing.conformance.platform.harness import joined
from taskrunner.testing.fakes.log import MemoryLog
from taskrunner_process import ProcessPayload
from taskrunner_process.groups.owner import owner_name
from taskrunner_process.payload import check_payload
from taskrunner_process.pipes import PIECE
from tests.process.process_bench import KINDS, alive, bench_on, descriptors, executable, token

BEST = KINDS[0]


ALTERNATING = "i=0; while [ $i -lt 1000 ]; do echo $i; echo $i >&2; i=$((i+1)); done"


class CountingLog(Log):
    def __init__(self) -> None:
        self.total = self.largest = 0

    def write(self, data: bytes, stream: LogStream = "stdout") -> None:
        self.total += len(data)
        self.largest = max(self.largest, len(data))

    def mask(self, secret: str) -> None: ...

    def new_masker(self) -> OutputMasker:
        raise AssertionError("a process masks nothing itself")


class FullLog(CountingLog):
    def write(self, data: bytes, stream: LogStream = "stdout") -> None:
        raise TaskFailedInternally("the disk is full")


@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_and_an_exit_code_differ(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            killed = await bench.shell("kill -9 $$")
            assert (killed.exit_code, killed.message) == (137, "killed by signal 9 (SIGKILL)")
            ended = await bench.shell("kill -TERM $$")
            assert (ended.exit_code, ended.message) == (143, "killed by signal 15 (SIGTERM)")
            honest = await bench.shell("exit 137")
            assert (honest.exit_code, honest.message) == (137, "")

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_megabytes_of_output_are_logged_in_pieces(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        log = CountingLog()
        async with bench_on(kind, tmp_path, log=log) as bench:
            await bench.run("head", "-c", "100000000", "/dev/zero")
        assert log.total == 100_000_000
        assert log.largest <= PIECE

    asyncio.run(run())


def test_the_pipe_of_an_output_holds_a_piece(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            await bench.run(sys.executable, "-c", "import fcntl; print(fcntl.fcntl(1, fcntl.F_GETPIPE_SZ))")
            assert bench.text == f"{PIECE}\n"

    asyncio.run(run())


def test_both_outputs_keep_their_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            await bench.shell("for i in 1 2 3; do echo out $i; echo err $i >&2; done")
            assert bench.text == "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n"

    asyncio.run(run())


def test_a_separate_stderr_is_known_and_each_stream_is_whole(tmp_path: Path) -> None:
    async def run() -> None:
        log = MemoryLog()
        async with bench_on(BEST, tmp_path, log=log) as bench:
            execution = await bench.start("sh", "-c", ALTERNATING, separate_stderr=True)
            await execution.wait()
        numbers = "".join(f"{number}\n" for number in range(1000)).encode()
        assert {stream for stream, _ in log.pieces} == {"stdout", "stderr"}
        for stream in ("stdout", "stderr"):
            assert b"".join(data for each, data in log.pieces if each == stream) == numbers

    asyncio.run(run())


def test_separate_outputs_keep_the_order_in_which_they_arrive(tmp_path: Path) -> None:
    async def run() -> None:
        log, lines = MemoryLog(), [f"{name} {number}\n" for number in (1, 2, 3) for name in ("out", "err")]
        gates = [tmp_path / str(number) for number in range(len(lines))]
        for gate in gates:
            os.mkfifo(gate)
        steps = zip(lines, gates, strict=True)
        script = [f"echo {line.strip()} >&{1 + ('err' in line)}; read x <{gate}" for line, gate in steps]
        async with bench_on(BEST, tmp_path, log=log) as bench:
            execution = await bench.start("sh", "-c", "; ".join(script), separate_stderr=True)
            for line, gate in zip(lines, gates, strict=True):
                await log.until(line)
                await run_blocking(partial(gate.write_text, "go\n"), limit=60, doing="opening the gate")
            await execution.wait()
        assert log.text == "".join(lines)
        assert log.pieces[:2] == [("stdout", b"out 1\n"), ("stderr", b"err 1\n")]

    asyncio.run(run())


@pytest.mark.parametrize("separate_stderr", [False, True])
def test_no_pipe_is_left_when_a_command_cannot_be_started(tmp_path: Path, *, separate_stderr: bool) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            await bench.run("true")
            before = descriptors()
            with pytest.raises(TaskFailed, match="use a file"):
                await bench.start("true", "x" * 5_000_000, separate_stderr=separate_stderr)
            await (await bench.start("true", separate_stderr=separate_stderr)).wait()
            assert descriptors() == before

    asyncio.run(run())


def test_a_run_whose_log_fails_ends(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path, log=FullLog()) as bench:
            execution = await bench.start("sh", "-c", f"echo hello; sleep {word}")
            with pytest.raises(TaskFailedInternally, match="the disk is full"):
                await execution.wait()
            assert alive(word) == []
            (bench.folder / "made").write_text("by the run")
            await execution.abort()  # it raises what is left behind: nothing is
            assert list(bench.folder.iterdir()) == []

    word = token()
    asyncio.run(run())


def test_the_input_of_the_payload_is_read_to_its_end(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            await bench.run("wc", "-c", stdin="ä" * 500_000)
            assert bench.text.strip() == "1000000"
            unread = await bench.run("true", stdin="x" * 1_000_000)
            assert unread.exit_code == 0

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_the_environment_of_the_worker_is_not_inherited(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> set[str]:
        async with bench_on(kind, tmp_path) as bench:
            await bench.run("env", env={"GIVEN": "a=b c", "HOME": "/mine"})
            lines = dict(line.split("=", 1) for line in bench.text.splitlines())
            assert lines["GIVEN"] == "a=b c"
            assert lines["HOME"] == "/mine"
            assert lines["TASKRUNNER_RUN"] == f"task1/0@{owner_name('w1', tmp_path)}"
            assert Path(lines["TMPDIR"]).parent == bench.folder
            return set(lines)

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("PYTHONPATH", "/hidden")
    monkeypatch.setenv("TZ", "UTC")
    base = {"PATH", "LANG", "TZ", "HOME", "TMPDIR", "SHELL", "TASKRUNNER_RUN", "GIVEN", "PWD"}
    assert asyncio.run(run()) <= base | {"LC_ALL"}


def test_no_descriptor_of_the_worker_is_inherited(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            await bench.run("ls", "/proc/self/fd")
            assert bench.text.split() == ["0", "1", "2", "3"]  # the last is that of `ls`

    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        asyncio.run(run())


def test_a_command_that_cannot_be_started_fails_the_task(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            for command, reason, words in (
                ("no-such-thing", "command-not-found", r"'no-such-thing' in /.*PATH"),
                ("./missing", "command-not-found", "'./missing'"),
                (str(plain), "not-executable", "chmod"),
                (str(tmp_path), "not-executable", "cannot be executed"),
                (str(script), "command-not-found", "'/no/such/interpreter'"),
                (str(windows), "command-not-found", "CR LF"),
            ):
                with pytest.raises(TaskFailed, match=words) as caught:
                    await bench.start(command)
                assert caught.value.reason == reason
            with pytest.raises(TaskFailed, match="use a file") as caught:
                await bench.start("true", "x" * 5_000_000)
            assert caught.value.reason == "command-too-long"
            assert (await bench.run(str(headless))).exit_code == 4
            with pytest.raises(MalformedPayload, match=r"'A B'.*letters"):
                await bench.start("true", env={"A B": "x"})
            with pytest.raises(MalformedPayload) as refused:
                await bench.start("true", env={"TOKEN": "secret\0value"})
            assert "secret" not in str(refused.value)

    plain, script, windows, headless = (tmp_path / name for name in ("plain", "script", "windows", "headless"))
    plain.write_text("no program")
    executable(script, "#!/no/such/interpreter -x\n")
    executable(windows, "#!/bin/sh\r\necho hi\r\n")
    executable(headless, "exit 4\n")
    asyncio.run(run())


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (ProcessPayload(()), "command"),
        (ProcessPayload(("",)), "command"),
        (ProcessPayload(("sh", "a\0b")), "command[1]"),
        (ProcessPayload(("sh", "\ud800")), "command[1]"),
        (ProcessPayload(("sh",), "\ud800"), "stdin"),
        (ProcessPayload(("sh",), working_dir="/tmp"), "working_dir"),
        (ProcessPayload(("sh",), working_dir="a/../.."), "working_dir"),
        (ProcessPayload(("sh",), working_dir="a\0"), "working_dir"),
    ],
)
def test_an_invalid_command_is_refused(payload: ProcessPayload, path: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        check_payload(payload)
    assert [complaint.path for complaint in caught.value.complaints] == [path]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_start_leaves_nothing(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            await bench.shell("true")
            before = descriptors()
            for turns in range(6):
                engine = await bench.engine("sleep", word)
                starting = asyncio.create_task(engine.start({}))
                for _ in range(turns):
                    await asyncio.sleep(0)
                starting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await (await starting).abort()
                await engine.discard()
            assert alive(word) == []
            assert descriptors() == before

    word = token()
    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_an_exec_shares_folder_and_environment_with_its_run(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            execution = await bench.start("sh", "-c", f"echo made > here; echo up; sleep {word}", env={"MINE": "yes"})
            assert isinstance(bench.log, MemoryLog)
            await bench.log.until("up")
            extra = await execution.new_exec(["sh", "-c", f"cat here; echo $MINE; echo bad >&2; sleep {word} & exit 5"])
            assert await extra.wait() == 5
            lingering = await execution.new_exec(["sh", "-c", f"setsid sleep {other} & echo up; wait"])
            assert await anext(lingering.stdout) == b"up\n"
            await lingering.abort()
            await lingering.abort()
            assert alive(other) == []
            assert await lingering.wait() == -9
            with pytest.raises(TaskFailed, match="no-such-thing"):
                await execution.new_exec(["no-such-thing"])
            await execution.kill()
            assert await joined(extra.stdout) == b"made\nyes\n"
            assert await joined(extra.stderr) == b"bad\n"
            assert alive(word) == []
            with pytest.raises(TaskFailed, match="has ended"):
                await execution.new_exec(["true"])
            await execution.abort()

    word, other = token(), token()
    asyncio.run(run())


def test_an_exec_has_variables_and_a_folder_of_its_own(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            execution = await bench.start("sh", "-c", "mkdir -p a/b; echo up; exec sleep 3600", env={"MINE": "run"})
            assert isinstance(bench.log, MemoryLog)
            await bench.log.until("up")
            (bench.folder / "a" / "tool").write_text("#!/bin/sh\necho $MINE $OWN in $(pwd)\n")
            (bench.folder / "a" / "tool").chmod(0o755)
            at = await execution.new_exec(["../tool"], env={"OWN": "exec"}, cwd="a/b")
            assert await joined(at.stdout) == f"run exec in {bench.folder}/a/b\n".encode()
            found = await execution.new_exec(["tool"], env={"MINE": "other", "PATH": f"{bench.folder}/a:/usr/bin:/bin"})
            assert await joined(found.stdout) == f"other in {bench.folder}\n".encode()
            with pytest.raises(TaskFailed, match="no folder 'a/c'"):
                await execution.new_exec(["true"], cwd="a/c")
            with pytest.raises(MalformedPayload, match="has letters"):
                await execution.new_exec(["true"], env={"A=B": "x"})
            await execution.abort()

    asyncio.run(run())


def test_execs_that_are_started_at_once_have_names_of_their_own(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            execution = await bench.start("sleep", token())
            waiting = await asyncio.gather(*(execution.new_exec(["sleep", token()]) for _ in range(3)))
            await waiting[0].abort()
            ends = [asyncio.create_task(each.wait()) for each in waiting]
            assert await ends[0] == -9
            late = await execution.new_exec(["true"])
            assert await late.wait() == 0
            assert not ends[1].done()
            await execution.abort()
            assert await asyncio.gather(*ends) == [-9, -9, -9]

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_a_terminal_has_the_size_that_is_set(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(kind, tmp_path) as bench:
            execution = await bench.start("sleep", token())
            script = "stty size; read line; echo got $line >/dev/tty; stty size >&2; read line || echo end"
            shell = await execution.new_exec(["sh", "-c", script], tty=Size(31, 99))
            output = shell.stdout
            assert await anext(output) == b"31 99\r\n"
            await shell.resize(50, 132)
            await shell.stdin.write(b"hello\n")
            await shell.stdin.close()
            rest = await joined(output)
            assert b"got hello\r\n" in rest
            assert b"50 132\r\n" in rest
            assert rest.endswith(b"end\r\n")
            assert await joined(shell.stderr) == b""
            assert await shell.wait() == 0
            await shell.resize(1, 1)
            await execution.abort()

    asyncio.run(run())


def test_writing_to_the_input_of_a_killed_run_fails(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench_on(BEST, tmp_path) as bench:
            engine = await bench.engine("sleep", token())
            execution = await engine.start({}, stdin=True)
            writing = asyncio.create_task(execution.stdin.write(b"x" * 10_000_000))
            await asyncio.sleep(0)
            assert not writing.done()
            await execution.kill()
            with pytest.raises(BrokenPipeError):
                await writing
            plain = await bench.start("true")
            with pytest.raises(NotSupported):
                _ = plain.stdin
            await plain.wait()

    asyncio.run(run())
