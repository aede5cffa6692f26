"""`exec` through the door: real sockets, commands that do as they are told, and clients that behave badly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from taskrunner.bounded import BoundedCalls
from taskrunner.errors import NotSupported, TaskFailed, TaskFailedInternally
from taskrunner.interfaces.execution import NO_VARIABLES, Exec, Input, Size
from taskrunner.model import RunKey
from taskrunner.runs.operator.exec import OperatorExecs
from taskrunner.testing import MemoryLog
from taskrunner.worker.door import server
from taskrunner.worker.door.client import ask, taken_over
from taskrunner.worker.door.frames import MAX_FRAME, WINDOW, FrameKind, pack_size, unpack_status, unpack_taken
from taskrunner.worker.door.protocol import DoorError, encode
from taskrunner.worker.door.server import MAX_EXECS
from tests.support.door import ID, Channel, DoorPlace, WorkerOfOneRun, until

SHELL = {"task_id": "t", "command": ["sh"]}
TERMINAL = {**SHELL, "tty": {"rows": 24, "columns": 80}}


class DirectedExec(Exec):
    """A command that does what the test tells it."""

    def __init__(self, tty: Size | None) -> None:
        self.input, self.size = Channel(), tty
        self.output: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.resized = asyncio.Event()
        self.aborted = asyncio.Event()
        self.pieces = 0

    @property
    def stdin(self) -> Input:
        return self.input

    @property
    def stdout(self) -> AsyncIterator[bytes]:
        return self._read()

    @property
    def stderr(self) -> AsyncIterator[bytes]:
        return self._errors()

    async def resize(self, rows: int, columns: int) -> None:
        if not self.size:
            raise NotSupported("this command has no terminal")
        self.size = Size(rows, columns)
        self.resized.set()

    async def wait(self) -> int:
        return await asyncio.shield(self.exit)

    async def abort(self) -> None:
        self.aborted.set()
        self.end(-9)

    def end(self, status: int) -> None:
        if not self.exit.done():
            self.exit.set_result(status)
        self.output.put_nowait(None)

    async def _read(self) -> AsyncIterator[bytes]:
        while (piece := await self.output.get()) is not None:
            self.pieces += 1
            yield piece

    async def _errors(self) -> AsyncIterator[bytes]:
        yield b"an error"


class DirectedExecution:
    """Starts them; only what `new_exec` promises is asked of it."""

    def __init__(self) -> None:
        self.begun: list[DirectedExec] = []
        self.orders: list[tuple[Sequence[str], Mapping[str, str], str]] = []
        self.refusal: Exception | None = None

    async def new_exec(
        self, command: Sequence[str], *, tty: Size | None = None, env: Mapping[str, str] = NO_VARIABLES, cwd: str = ""
    ) -> Exec:
        if self.refusal:
            raise self.refusal
        self.orders.append((command, env, cwd))
        self.begun.append(DirectedExec(tty))
        return self.begun[-1]


class OneRun(WorkerOfOneRun):
    """Its run starts what an operator asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.execution, self.log = DirectedExecution(), MemoryLog()
        self.run = SimpleNamespace(
            execution=self.execution,
            machine=SimpleNamespace(at="running"),
            claim=SimpleNamespace(run=RunKey("t", 0)),
            record=SimpleNamespace(log=self.log),
            kept=SimpleNamespace(calls=BoundedCalls(self.warnings.append)),
            services=SimpleNamespace(observer=SimpleNamespace(warn=self.warnings.append)),
            execs=OperatorExecs(),
        )
        self.run.execs.started.set()

    @property
    def command(self) -> DirectedExec:
        return self.execution.begun[-1]


class Place(DoorPlace):
    def run(self, scene: Callable[[OneRun], Awaitable[None]]) -> OneRun:
        async def main() -> OneRun:
            worker = OneRun()
            await self.perform(worker, scene)
            assert all(command.aborted.is_set() for command in worker.execution.begun)
            return worker

        return asyncio.run(main())

    async def asked(self, **fields: Any) -> dict[str, Any]:
        """The answer to a request that is refused."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(encode(verb="exec", **fields))
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_streams_and_the_exit_status_come_through(place: Place) -> None:
    async def scene(worker: OneRun) -> None:
        async with taken_over(place.home, ID, "exec", **SHELL, env={"A": "1"}, cwd="deep") as link:
            worker.command.input.takes.set()
            await link.send(FrameKind.INPUT, b"\0 in")
            assert unpack_taken(await until(link, FrameKind.TAKEN)) == 4
            await link.send(FrameKind.INPUT_END)
            await worker.command.input.closed.wait()
            worker.command.output.put_nowait(b"\xff out")
            assert await until(link, FrameKind.OUTPUT) == b"\xff out"
            worker.command.end(7)
            assert unpack_status(await until(link, FrameKind.EXIT)) == 7
            assert await link.receive() is None
        assert worker.command.input.taken == b"\0 in"

    worker = place.run(scene)
    assert worker.execution.orders == [(("sh",), {"A": "1"}, "deep")]
    begun, ended = worker.log.text.splitlines()
    assert begun.startswith("[taskrunner] exec 1 (sh) was begun by user ")
    assert ended == "[taskrunner] exec 1 (sh) has ended: exit status 7"


def test_errors_are_apart_and_a_large_piece_is_cut(place: Place) -> None:
    async def scene(worker: OneRun) -> None:
        async with taken_over(place.home, ID, "exec", **SHELL) as link:
            assert await until(link, FrameKind.ERRORS) == b"an error"
            worker.command.output.put_nowait(bytes(MAX_FRAME + 1))
            assert [len(await until(link, FrameKind.OUTPUT)) for _ in range(2)] == [MAX_FRAME, 1]

    place.run(scene)


def test_a_client_that_goes_takes_a_command_that_reads_nothing_with_it(place: Place) -> None:
    async def scene(worker: OneRun) -> None:
        async with taken_over(place.home, ID, "exec", **TERMINAL) as link:
            for _ in range(WINDOW // MAX_FRAME):
                await link.send(FrameKind.INPUT, bytes(MAX_FRAME))
            await link.send(FrameKind.SIZE, pack_size(Size(33, 111)))
            await worker.command.resized.wait()
            assert worker.command.size == Size(33, 111)
        await worker.log.until("has ended")

    worker = place.run(scene)
    assert "has ended: its client has gone, signal 9" in worker.log.text


def test_a_client_that_does_not_read_stops_the_output(place: Place) -> None:
    async def scene(worker: OneRun) -> None:
        async with taken_over(place.home, ID, "exec", **SHELL) as link:
            link.reader._transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(1000):
                worker.command.output.put_nowait(bytes(MAX_FRAME))
            before = -1
            while worker.command.pieces > before:
                before = worker.command.pieces
                for _ in range(100):
                    await asyncio.sleep(0)
            assert 0 < worker.command.pieces < 20, "a megabyte, of 64"

    place.run(scene)


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (b"q\0\0\0\0", "this kind of frame is not known"),
        (b"o\0\0\0\0", "a client sends no frame of the kind o"),
        (b"i\xff\xff\xff\xff", "a frame may have 65,536 bytes"),
        (b"s\0\0\0\1x", "a size has four bytes"),
        (b"s\0\0\0\4\0\1\0\1", "no terminal"),
        ((b"i\0\1\0\0" + bytes(MAX_FRAME)) * 6, "more than 262,144 bytes of input"),
    ],
)
def test_a_client_that_breaks_the_protocol_is_told_and_disconnected(place: Place, frame: bytes, problem: str) -> None:
    async def scene(worker: OneRun) -> None:
        async with taken_over(place.home, ID, "exec", **SHELL) as link:
            link.writer.write(frame)
            assert problem in (await until(link, FrameKind.FAILED)).decode()
            await worker.command.aborted.wait()

    place.run(scene)


def test_what_a_command_leaves_behind_does_not_hold_up_its_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.worker.door.exec_session.LINGER", 0.01)

    async def scene(worker: OneRun) -> None:
        async with taken_over(place.home, ID, "exec", **SHELL) as link:
            worker.command.exit.set_result(0)  # and its output stays open
            assert unpack_status(await until(link, FrameKind.EXIT)) == 0

    place.run(scene)


def test_a_command_that_closes_its_input_goes_on(place: Place) -> None:
    async def scene(worker: OneRun) -> None:
        async with taken_over(place.home, ID, "exec", **SHELL) as link:
            worker.command.input.broken = True
            worker.command.input.takes.set()
            await link.send(FrameKind.INPUT, b"for nobody")
            assert unpack_taken(await until(link, FrameKind.TAKEN)) == len(b"for nobody")
            worker.command.end(0)
            assert unpack_status(await until(link, FrameKind.EXIT)) == 0

    place.run(scene)


def test_execs_are_bounded_and_do_not_keep_the_operator_out(place: Place) -> None:
    async def scene(worker: OneRun) -> None:
        open_ones = [taken_over(place.home, ID, "exec", **SHELL) for _ in range(MAX_EXECS)]
        for each in open_ones:
            await each.__aenter__()
        with pytest.raises(DoorError, match="this worker has 32 execs already"):
            await taken_over(place.home, ID, "exec", **SHELL).__aenter__()
        assert (await ask(place.home, ID, "status"))["worker_id"] == ID
        await open_ones[0].__aexit__(None, None, None)
        await worker.execution.begun[0].aborted.wait()
        while len(place.door._execs) == MAX_EXECS:  # noqa: ASYNC110  the door has no event for it
            await asyncio.sleep(0)
        async with taken_over(place.home, ID, "exec", **SHELL):
            pass
        for each in open_ones[1:]:
            await each.__aexit__(None, None, None)

    place.run(scene)


def test_the_end_of_the_worker_ends_what_is_open(place: Place) -> None:
    async def scene(_: OneRun) -> None:
        await taken_over(place.home, ID, "exec", **SHELL).__aenter__()

    assert place.run(scene).command.aborted.is_set()


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"command": ["sh"]}, "malformed", "task_id"),
        ({"task_id": "t"}, "malformed", "command"),
        ({"task_id": "t", "command": []}, "malformed", "command"),
        ({"task_id": "t", "command": "sh"}, "malformed", "command"),
        ({"task_id": "t", "command": ["sh", "a\0b"]}, "malformed", "command[1]: holds a zero byte"),
        ({"task_id": "t", "command": ["\udcff"]}, "malformed", "command[0]: holds half of a surrogate pair"),
        ({**SHELL, "tty": {"rows": -1, "columns": 80}}, "malformed", "tty"),
        ({**SHELL, "tty": {"rows": 24, "columns": 70000}}, "malformed", "tty"),
        ({**SHELL, "env": {"A": 1}}, "malformed", "env"),
        ({**SHELL, "shell": True}, "malformed", "shell: is not known here"),
        ({**SHELL, "task_id": "other"}, "not-running", "other does not run on this worker"),
        ({**SHELL, "run_id": 1}, "not-running", "does not run on this worker"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(
    place: Place, fields: dict[str, Any], error: str, message: str
) -> None:
    async def scene(_: OneRun) -> None:
        answer = await place.asked(**fields)
        assert (answer["ok"], answer["error"]) == (False, error)
        assert message in answer["message"]

    assert place.run(scene).log.text == ""


@pytest.mark.parametrize(
    ("refusal", "error", "message"),
    [
        (NotSupported("exec"), "not-supported", "a build has no place for it"),
        (TaskFailed("command-not-found", "there is no command 'x'"), "not-started", "there is no command 'x'"),
        (TaskFailed("run-ended", "the run has ended"), "not-running", "the run has ended"),
        (TaskFailedInternally("no processes left"), "not-started", "no processes left"),
        (ZeroDivisionError("a bug"), "internal-error", "its own messages say why"),
    ],
)
def test_what_the_platform_says_is_passed_on(place: Place, refusal: Exception, error: str, message: str) -> None:
    async def scene(worker: OneRun) -> None:
        worker.execution.refusal = refusal
        answer = await place.asked(**SHELL)
        assert (answer["ok"], answer["error"]) == (False, error)
        assert message in answer["message"]

    worker = place.run(scene)
    assert worker.log.text == ""
    assert bool(worker.warnings) == (error == "internal-error")


def test_a_run_that_has_no_command_yet_or_any_more_is_named(place: Place) -> None:
    async def scene(worker: OneRun) -> None:
        worker.run.machine.at = "uploading"
        assert (await place.asked(**SHELL))["message"] == "t/0 is uploading: it has no command that runs"
        worker.run.machine.at, worker.run.execution = "running", None
        assert (await place.asked(**SHELL))["error"] == "not-running"

    place.run(scene)


def test_a_run_that_is_just_being_started_is_waited_for(place: Place) -> None:
    async def scene(worker: OneRun) -> None:
        waited = asyncio.Event()

        class Started(asyncio.Event):
            async def wait(self) -> Literal[True]:
                waited.set()
                return await super().wait()

        execution, worker.run.execution = worker.run.execution, None
        worker.run.execs.started = Started()
        asking = asyncio.create_task(place.asked(**SHELL))
        await asyncio.wait_for(waited.wait(), 10)
        assert not asking.done()
        worker.run.execution = execution
        worker.run.execs.started.set()
        assert (await asking)["ok"]

    place.run(scene)


def test_a_command_that_cannot_be_killed_is_a_warning(place: Place) -> None:
    async def scene(worker: OneRun) -> None:
        async def abort() -> None:
            worker.command.aborted.set()
            raise TaskFailedInternally("it waits in the kernel")

        async with taken_over(place.home, ID, "exec", **SHELL):
            worker.command.abort = abort  # type: ignore[method-assign]
        await worker.log.until("could not be ended")

    worker = place.run(scene)
    assert worker.warnings == ["t/0: exec 1 (sh) could not be ended: it waits in the kernel"]
    assert "it could not be ended: it waits in the kernel" in worker.log.text


def test_the_limits_are_those_of_the_documentation() -> None:
    assert (server.MAX_EXECS, MAX_FRAME, WINDOW) == (32, 65536, 262144)
