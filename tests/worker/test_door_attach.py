"""`attach` through the door: real sockets, a command that does as it is told, and clients that behave badly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskrunner.log.spool import Spool
from taskrunner.model import COMPLETED, RunKey, exception
from taskrunner.runs.operator.attach import OperatorAttach
from taskrunner.runs.operator.exec import OperatorExecs
from taskrunner.worker.door import attach_session
from taskrunner.worker.door.client import taken_over
from taskrunner.worker.door.frames import MAX_FRAME, WINDOW, FrameKind, Link, unpack_status, unpack_taken
from taskrunner.worker.door.protocol import DoorError
from tests.support.door import ID, Channel, DoorPlace, WorkerOfOneRun, until

TASK = {"task_id": "t"}

HEAD = 1 << 20
"""Bytes of a log that can be followed."""


class InteractiveRun(WorkerOfOneRun):
    """The log of the run is a real one."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.input, self.log = Channel(), Spool(folder / "log", head=HEAD, tail=HEAD)
        self.input.takes.set()
        self.run = SimpleNamespace(
            execution=SimpleNamespace(stdin=self.input),
            machine=SimpleNamespace(at="running"),
            claim=SimpleNamespace(run=RunKey("t", 0), task_id="t"),
            task=SimpleNamespace(interactive=True),
            record=SimpleNamespace(log=self.log),
            execs=OperatorExecs(),
            attach=OperatorAttach(),
            attempt=SimpleNamespace(resolution=None),
            results=SimpleNamespace(exit_code=0),
        )
        self.run.execs.started.set()

    @property
    def text(self) -> str:
        return self.log.path.read_text(errors="replace")

    def end(self, exit_code: int = 0) -> None:
        self.run.results.exit_code = exit_code
        self.run.attach.command_ended(self.run)

    async def until(self, text: str) -> None:
        while text not in self.text:  # noqa: ASYNC110  a file has no event
            await asyncio.sleep(0)


class Place(DoorPlace):
    def run(self, scene: Callable[[InteractiveRun], Awaitable[None]]) -> InteractiveRun:
        async def main() -> InteractiveRun:
            worker = InteractiveRun(self.home)
            await self.perform(worker, scene)
            worker.log.finish(COMPLETED, 0)
            return worker

        return asyncio.run(main())

    def attached(self, **fields: Any) -> Any:
        return taken_over(self.home, ID, "attach", **{**TASK, **fields})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def rest(link: Link) -> tuple[bytes, bytes, int]:
    """The output, the errors and the exit status."""
    output, errors = b"", b""
    while frame := await link.receive():
        kind, data = frame
        if kind is FrameKind.EXIT:
            return output, errors, unpack_status(data)
        output += data if kind is FrameKind.OUTPUT else b""
        errors += data if kind is FrameKind.ERRORS else b""
    raise AssertionError("the connection has ended without an exit status")


def test_input_output_and_exit_status_come_through(place: Place) -> None:
    async def scene(worker: InteractiveRun) -> None:
        worker.log.mask("s3cret-v4lue")
        worker.log.write(b"number? ")
        async with place.attached() as link:
            assert await until(link, FrameKind.OUTPUT) == b"number? "
            await link.send(FrameKind.INPUT, b"\0 5\n")
            assert unpack_taken(await until(link, FrameKind.TAKEN)) == 4
            await link.send(FrameKind.INPUT_END)
            await worker.input.closed.wait()
            worker.log.write(b"s3cret-v", "both")
            worker.log.write(b"4lue \xff\n", "both")
            worker.log.write(b"failed\n", "stderr")
            worker.end(7)
            assert await rest(link) == (b"*** \xff\n", b"failed\n", 7)
        await worker.until("attach 1 has ended: ")
        assert worker.input.taken == b"\0 5\n"

    lines = place.run(scene).text.splitlines()
    assert lines[0] == "number? "
    assert lines[1].startswith("[taskrunner] attach 1 was begun by user ")
    assert lines[2] == "[taskrunner] attach 1 has ended the input of the command"
    assert lines[-2] == "[taskrunner] attach 1 has ended: so has the command"


def test_what_was_printed_before_is_shown_as_far_as_ten_lines(place: Place) -> None:
    async def scene(worker: InteractiveRun) -> None:
        worker.log.write(b"".join(b"%d\n" % number for number in range(90_000)))
        worker.log.say("a line of the worker")
        worker.log.write(b"number? ")
        async with place.attached() as link:
            seen = await until(link, FrameKind.OUTPUT)
            while b"number? " not in seen:
                seen += await until(link, FrameKind.OUTPUT)
            assert seen == b"".join(b"%d\n" % number for number in range(89_991, 90_000)) + b"number? "

    place.run(scene)


def test_a_client_that_goes_leaves_the_command_and_its_input(place: Place) -> None:
    async def scene(worker: InteractiveRun) -> None:
        async with place.attached() as link:
            await link.send(FrameKind.INPUT, b"first ")
        await worker.until("attach 1 has ended: its client has gone")
        assert not worker.input.closed.is_set()
        async with place.attached() as link:
            await link.send(FrameKind.INPUT, b"second")
            await until(link, FrameKind.TAKEN)
            worker.end()
            assert (await rest(link))[2] == 0
        assert worker.input.taken == b"first second"

    place.run(scene)


def test_what_a_client_has_sent_before_it_goes_is_taken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attach_session, "LAST_INPUT", 60.0)

    async def scene(worker: InteractiveRun) -> None:
        worker.input.takes.clear()
        async with place.attached() as link:
            await link.send(FrameKind.INPUT, b"first ")
            await link.send(FrameKind.INPUT, b"second")
        for _ in range(1000):
            await asyncio.sleep(0)
        worker.input.takes.set()
        await worker.until("its client has gone")

    assert place.run(scene).input.taken == b"first second"


def test_a_client_that_goes_while_its_input_is_not_read_is_forgotten(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach_session, "LAST_INPUT", 0.01)

    async def scene(worker: InteractiveRun) -> None:
        worker.input.takes.clear()
        async with place.attached() as link:
            for _ in range(WINDOW // MAX_FRAME):
                await link.send(FrameKind.INPUT, bytes(MAX_FRAME))
        await worker.until("its client has gone")
        async with place.attached():
            pass

    assert place.run(scene).input.taken == b""


def test_a_client_that_does_not_read_does_not_stop_the_command(place: Place) -> None:
    async def scene(worker: InteractiveRun) -> None:
        async with place.attached() as link:
            link.reader._transport.pause_reading()
            for _ in range(64):
                worker.log.write(bytes(MAX_FRAME), "stdout")  # does not wait for anybody
            worker.end()

    assert "the log is long" in place.run(scene).text


def test_the_end_of_what_can_be_shown_of_a_long_log_is_told(place: Place) -> None:
    async def scene(worker: InteractiveRun) -> None:
        async with place.attached() as link:
            for _ in range(10):
                worker.log.write(bytes(HEAD // 8), "stdout")
            worker.end()
            output, errors, _ = await rest(link)
            assert HEAD - 1000 < len(output) < HEAD
            assert errors.startswith(b"[taskrunner] the log is long: what follows is shown when the run has ended")

    place.run(scene)


def test_one_client_at_a_time(place: Place) -> None:
    async def scene(worker: InteractiveRun) -> None:
        async with place.attached():
            with pytest.raises(DoorError, match="is attached to t/0, one can be at a time") as refused:
                await place.attached().__aenter__()
            assert refused.value.fault == "busy"
        await worker.until("attach 1 has ended")
        async with place.attached() as link:
            await link.send(FrameKind.INPUT_END)
            await worker.input.closed.wait()
        await worker.until("attach 2 has ended:")
        with pytest.raises(DoorError, match="the input of t/0 was ended by a client before") as refused:
            await place.attached().__aenter__()
        assert refused.value.fault == "not-supported"

    place.run(scene)


def test_a_run_that_is_stopped_or_lost_is_told(place: Place) -> None:
    async def scene(worker: InteractiveRun) -> None:
        worker.run.resolution = worker.run.attempt.resolution = exception("canceled", "by its author")
        async with place.attached() as link:
            worker.log.write(b"the last\n")
            worker.end()
            assert await until(link, FrameKind.OUTPUT) == b"the last\n"
            assert await until(link, FrameKind.FAILED) == b"t/0 was stopped: exception (canceled)"

    async def lost(worker: InteractiveRun) -> None:
        worker.run.results = None
        async with place.attached() as link:
            worker.run.attach.command_ended(worker.run)
            assert b"t/0 has ended, and how is not known" in await until(link, FrameKind.FAILED)

    place.run(scene)
    place.home.joinpath("log").unlink()
    place.run(lost)


@pytest.mark.parametrize(
    ("change", "fault", "message"),
    [
        ({"task": SimpleNamespace(interactive=False)}, "not-supported", "its task has no `interactive = true`"),
        ({"machine": SimpleNamespace(at="loading"), "execution": None}, "not-running", "t/0 is loading"),
    ],
)
def test_a_run_that_cannot_be_attached_to_is_refused(
    place: Place, change: dict[str, Any], fault: str, message: str
) -> None:
    async def scene(worker: InteractiveRun) -> None:
        vars(worker.run).update(change)
        with pytest.raises(DoorError, match=message) as refused:
            await place.attached().__aenter__()
        assert refused.value.fault == fault

    assert "attach" not in place.run(scene).text


@pytest.mark.parametrize(
    ("fields", "fault", "message"),
    [
        ({"task_id": "other"}, "not-running", "other does not run on this worker"),
        ({"run_id": 1}, "not-running", "does not run on this worker"),
        ({"run_id": "last"}, "malformed", "run_id"),
        ({"command": ["sh"]}, "malformed", "command: is not known here"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(
    place: Place, fields: dict[str, Any], fault: str, message: str
) -> None:
    async def scene(_: InteractiveRun) -> None:
        with pytest.raises(DoorError, match=message) as refused:
            await place.attached(**fields).__aenter__()
        assert refused.value.fault == fault

    place.run(scene)


def test_a_size_is_refused(place: Place) -> None:
    async def scene(_: InteractiveRun) -> None:
        async with place.attached() as link:
            link.writer.write(b"s\0\0\0\4\0\1\0\1")
            assert await until(link, FrameKind.FAILED) == b"the command of a run has no terminal"

    place.run(scene)


def test_a_log_without_an_index_shows_no_line_of_the_worker(place: Place) -> None:
    async def scene(worker: InteractiveRun) -> None:
        async with place.attached() as link:
            worker.end()
            assert await rest(link) == (b"", b"", 0)

    place.run(scene)
