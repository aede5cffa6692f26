import asyncio
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from taskrunner.blocking import DaemonExecutor
from taskrunner.model import COMPLETED, Notice, Submission
from taskrunner.queues.ledger import queue as ledger_queue
from taskrunner.queues.ledger.database import Canceled, Changes
from taskrunner.queues.sqlite import wakeup_sockets
from taskrunner.queues.sqlite.queue import SqliteQueue
from taskrunner.queues.sqlite.wakeup_sockets import MAX_MESSAGE, SocketFolder, WakeupReceiver, WakeupSender
from tests.support.killed import run_until_ready_and_kill

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiters are woken by sockets only."""
    monkeypatch.setattr(ledger_queue, "POLL_INTERVAL", 10 * PATIENCE)


@pytest.fixture
def wake(tmp_path: Path) -> Path:
    return tmp_path / "queue.db.wake"


def received(wake: Path, send: Callable[[WakeupSender], None]) -> list[Canceled | None]:
    """What a receiver of work gets, up to a plain wake-up."""

    async def main() -> list[Canceled | None]:
        seen: list[Canceled | None] = []
        over = asyncio.Event()

        def on_wakeup(canceled: Canceled | None) -> None:
            seen.append(canceled)
            if canceled is None:
                over.set()

        executor = DaemonExecutor("test", size=1)
        receiver, sender = WakeupReceiver(wake, "work", on_wakeup, executor), WakeupSender(wake)
        await receiver.open()
        send(sender)
        sender.publish(Changes(work=True))
        async with asyncio.timeout(PATIENCE):
            await over.wait()
        receiver.close()
        receiver.remove()
        sender.close()
        return seen

    return asyncio.run(main())


def test_many_wakeups_need_one_read(wake: Path) -> None:
    def often(sender: WakeupSender) -> None:
        for _ in range(5):
            sender.publish(Changes(work=True, status=True))

    assert received(wake, often) == [None]
    assert list(wake.iterdir()) == []


def test_a_cancellation_names_its_worker_and_task(wake: Path) -> None:
    text = "nicht mehr gewünscht \ud800" + "x" * 10_000

    def cancel(sender: WakeupSender) -> None:
        sender.publish(Changes(canceled=[Canceled("alice", "one", text)]))

    [canceled] = [each for each in received(wake, cancel) if each]
    assert (canceled.worker_id, canceled.task_id) == ("alice", "one")
    assert canceled.message.startswith("nicht mehr gewünscht ")
    assert len(canceled.message) == MAX_MESSAGE


def test_what_cannot_be_decoded_is_a_plain_wakeup(wake: Path) -> None:
    def nonsense(_: WakeupSender) -> None:
        [name] = list(wake.iterdir())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            for message in (b"\xff\xfe", b"[1]", b"{}", b"7", b'["a", "b", "c", "d"]'):
                other.sendto(message, str(name))

    assert received(wake, nonsense) == [None]


def test_a_dead_receiver_is_removed_and_a_full_one_does_not_block(wake: Path) -> None:
    wake.mkdir()
    full = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    full.bind(str(wake / "work-full"))
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(wake / "work-dead"))
    dead.close()

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, suppress(BlockingIOError):
        other.setblocking(False)
        while True:
            other.sendto(b"x" * 400, str(wake / "work-full"))
    assert received(wake, lambda _: None) == [None]
    assert [path.name for path in wake.iterdir()] == ["work-full"]
    full.close()


def test_no_receiver_is_no_error(wake: Path) -> None:
    sender = WakeupSender(wake)
    sender.publish(Changes(work=True, status=True, canceled=[Canceled("a", "b", "c")]))
    sender.close()


def test_where_sockets_do_not_work_nothing_breaks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def main() -> None:
        executor = DaemonExecutor("test", size=1)
        receiver = WakeupReceiver(tmp_path / "file" / "wake", "work", lambda _: None, executor)
        await receiver.open()
        await receiver.open()
        receiver.close()
        receiver.close()
        receiver.remove()

    asyncio.run(main())


def test_a_receiver_that_is_closed_while_it_opens_leaves_no_socket(wake: Path) -> None:
    async def main() -> None:
        executor, release = DaemonExecutor("test", size=1), threading.Event()
        executor.submit(release.wait)
        receiver = WakeupReceiver(wake, "work", lambda _: None, executor)
        opening = asyncio.create_task(receiver.open())
        await asyncio.sleep(0)
        receiver.close()
        release.set()
        await opening
        assert executor.submit(lambda: list(wake.iterdir())).result(PATIENCE) == []
        await receiver.open()
        assert executor.submit(lambda: list(wake.iterdir())).result(PATIENCE) == []

    asyncio.run(main())


@pytest.mark.parametrize("has_proc", [True, False])
def test_a_path_that_is_too_long_for_a_socket_gets_a_short_name_that_goes_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_proc: bool
) -> None:
    if not has_proc:  # as on macOS
        monkeypatch.setattr(wakeup_sockets, "OPEN_FILES", tmp_path / "none")
    deep = tmp_path.joinpath(*["a-very-long-name-of-a-folder-" + "x" * 60] * 5)
    deep.mkdir(parents=True)
    folder = SocketFolder(deep)
    address = folder.address("status-0123456789ab")
    assert len(os.fsencode(address)) <= 100
    assert Path(address).parent.resolve() == deep.resolve()
    folder.close()
    assert not Path(address).parent.exists()
    assert deep.exists()


def test_a_killed_process_leaves_nothing_in_the_temporary_folder(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-very-long-name-of-a-folder-" + "x" * 60] * 5)
    deep.mkdir(parents=True)
    code = """
        import sys, tempfile
        from pathlib import Path
        from taskrunner.queues.sqlite.wakeup_sockets import SocketFolder
        tempfile.tempdir = sys.argv[2]
        SocketFolder(Path(sys.argv[1])).address("status-0123456789ab")
        print("ready", flush=True)
        sys.stdin.read()
    """
    (tmp_path / "tmp").mkdir()
    run_until_ready_and_kill(code, deep, tmp_path / "tmp")
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("depth", [0, 3])
def test_queues_over_one_file_wake_each_other_at_any_path(tmp_path: Path, depth: int) -> None:
    home = tmp_path.joinpath(*["a-very-long-name-of-a-folder-" + "x" * 60] * depth)

    async def main() -> None:
        alice, submitter = SqliteQueue(home / "queue.db", "alice"), SqliteQueue(home / "queue.db", "")
        notices = await alice.notices()
        waiting = asyncio.create_task(alice.claim(1, lease=PATIENCE, wait=PATIENCE))
        while not list(home.glob("queue.db.wake/work-*")):  # noqa: ASYNC110  a folder has no event
            await asyncio.sleep(0)
        await submitter.submit(Submission("one", {}))
        [claim] = await waiting
        states = submitter.watch("one")
        assert (await anext(states)).state == "running"
        await submitter.submit(Submission("two", {}))
        changing = asyncio.ensure_future(anext(states))
        while not list(home.glob("queue.db.wake/status-*")):  # noqa: ASYNC110  the same
            await asyncio.sleep(0)
        await alice.resolve(claim, COMPLETED)
        assert (await changing).state == "resolved"
        await alice.claim(1, lease=PATIENCE, wait=0)
        await submitter.cancel("two", "not wanted")
        assert await anext(notices) == Notice("cancel", "two", "not wanted")
        await alice.close()
        await submitter.close()

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await main()

    asyncio.run(bounded())
