import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from taskrunner.model import COMPLETED, Notice, Submission
from taskrunner.queues.ledger import queue as ledger_queue
from taskrunner.queues.ledger.database import Canceled, News
from taskrunner.queues.sqlite.queue import SqliteQueue
from taskrunner.queues.sqlite.wakeup import LONGEST_MESSAGE, Folder, Listener, Ringer

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the bell wakes anybody here."""
    monkeypatch.setattr(ledger_queue, "LOOK_AGAIN", 10 * PATIENCE)


@pytest.fixture
def wake(tmp_path: Path) -> Path:
    return tmp_path / "queue.db.wake"


def heard(wake: Path, ring: Callable[[Ringer], None]) -> list[Canceled | None]:
    """What a listener for work hears until a ring without news comes."""

    async def main() -> list[Canceled | None]:
        seen: list[Canceled | None] = []
        over = asyncio.Event()

        def hear(news: Canceled | None) -> None:
            seen.append(news)
            if news is None:
                over.set()

        listener, ringer = Listener(wake, "work", hear), Ringer(wake)
        listener.open()
        ring(ringer)
        ringer.tell(News(work=True))
        async with asyncio.timeout(PATIENCE):
            await over.wait()
        listener.close()
        ringer.close()
        return seen

    return asyncio.run(main())


def test_many_rings_need_one_look(wake: Path) -> None:
    def often(ringer: Ringer) -> None:
        for _ in range(5):
            ringer.tell(News(work=True, status=True))

    assert heard(wake, often) == [None]
    assert list(wake.iterdir()) == []


def test_a_cancellation_tells_whose_run_it_is(wake: Path) -> None:
    text = "nicht mehr gewünscht \ud800" + "x" * 10_000

    def cancel(ringer: Ringer) -> None:
        ringer.tell(News(canceled=[Canceled("alice", "one", text)]))

    [canceled] = [news for news in heard(wake, cancel) if news]
    assert (canceled.worker_id, canceled.task_id) == ("alice", "one")
    assert canceled.message.startswith("nicht mehr gewünscht ")
    assert len(canceled.message) == LONGEST_MESSAGE


def test_nonsense_is_only_a_ring(wake: Path) -> None:
    def nonsense(_: Ringer) -> None:
        [name] = list(wake.iterdir())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            for message in (b"\xff\xfe", b"[1]", b"{}", b"7", b'["a", "b", "c", "d"]'):
                other.sendto(message, str(name))

    assert heard(wake, nonsense) == [None]


def test_a_dead_listener_is_removed_and_a_deaf_one_does_not_block(wake: Path) -> None:
    wake.mkdir()
    deaf = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    deaf.bind(str(wake / "work-deaf"))
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(wake / "work-dead"))
    dead.close()

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, suppress(BlockingIOError):
        other.setblocking(False)
        while True:
            other.sendto(b"x" * 400, str(wake / "work-deaf"))
    assert heard(wake, lambda _: None) == [None]
    assert [path.name for path in wake.iterdir()] == ["work-deaf"]
    deaf.close()


def test_nobody_there_is_no_error(wake: Path) -> None:
    ringer = Ringer(wake)
    ringer.tell(News(work=True, status=True, canceled=[Canceled("a", "b", "c")]))
    ringer.close()


def test_where_sockets_do_not_work_nothing_breaks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def main() -> None:
        listener = Listener(tmp_path / "file" / "wake", "work", lambda _: None)
        listener.open()
        listener.open()
        listener.close()
        listener.close()

    asyncio.run(main())


def test_a_path_that_is_too_long_for_a_socket_gets_a_short_name_that_goes_away(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-very-long-name-of-a-folder-" + "x" * 60] * 5)
    deep.mkdir(parents=True)
    folder = Folder(deep)
    address = folder.address("status-0123456789ab")
    assert len(os.fsencode(address)) <= 100
    assert Path(address).parent.resolve() == deep.resolve()
    folder.close()
    assert not Path(address).parent.parent.exists()
    assert deep.exists()


@pytest.mark.parametrize("depth", [0, 3])
def test_processes_of_a_queue_hear_each_other_wherever_it_lies(tmp_path: Path, depth: int) -> None:
    home = tmp_path.joinpath(*["a-very-long-name-of-a-folder-" + "x" * 60] * depth)

    async def main() -> None:
        alice, submitter = SqliteQueue(home / "queue.db", "alice"), SqliteQueue(home / "queue.db", "")
        notices = alice.notices()
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
