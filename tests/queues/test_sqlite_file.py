import asyncio
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from taskrunner.errors import Bug, ClaimLost, ConfigError, MalformedPayload, Unavailable, WorkerBroken
from taskrunner.model import COMPLETED, Claim, Resolution, Submission, exception, failed
from taskrunner.queues.ledger.tables import APPLICATION_ID, SCHEMA_VERSION
from taskrunner.queues.sqlite import boottime
from taskrunner.queues.sqlite import file as ledger_file
from taskrunner.queues.sqlite.queue import SqliteQueue

LONG = 600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "queue.db"


def with_queue(path: Path, scenario: Callable[[SqliteQueue], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        queue = SqliteQueue(path, "alice")
        try:
            await scenario(queue)
        finally:
            await queue.close()

    asyncio.run(main())


async def submit_one(queue: SqliteQueue) -> None:
    await queue.submit(Submission("one", {}))


@asynccontextmanager
async def closing_queue(queue: SqliteQueue) -> AsyncIterator[SqliteQueue]:
    try:
        yield queue
    finally:
        await queue.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---- the file -------------------------------------------------------------------------------------------


def test_every_file_is_private(path: Path) -> None:
    before = os.umask(0)
    try:
        with_queue(path, lambda queue: queue_and_wait(queue, path))
    finally:
        os.umask(before)


async def queue_and_wait(queue: SqliteQueue, path: Path) -> None:
    await submit_one(queue)
    await queue.claim(1, lease=LONG, wait=0)
    files = {file.name: mode(file) for file in path.parent.iterdir()}
    assert files.pop("queue.db.wake") == mode(path.parent) == 0o700
    assert set(files) >= {"queue.db", "queue.db.lock", "queue.db-wal"}
    assert set(files.values()) == {0o600}


def test_no_file_is_made_before_the_first_call(path: Path) -> None:
    async def no_call(queue: SqliteQueue) -> None:
        assert queue.worker_id == "alice"

    with_queue(path, no_call)
    assert not path.parent.exists()


def test_the_file_has_an_application_id(path: Path) -> None:
    with_queue(path, submit_one)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    with_queue(path, submit_one)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(ConfigError, match=r"queue\.db was written by another version of taskrunner \(its format is 3"):
        with_queue(path, submit_one)


def test_the_database_of_another_program_is_refused_unchanged(path: Path) -> None:
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE cookies (id)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"queue\.db is the database of another program"):
        with_queue(path, submit_one)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["a text of another program\n" * 100, "a"])
def test_a_file_that_is_no_database_is_refused_unchanged(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"queue\.db is no database"):
        with_queue(path, submit_one)
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path], "nothing is made beside it"


def test_the_error_of_a_damaged_file_names_it_and_a_remedy(path: Path) -> None:
    async def fill(queue: SqliteQueue) -> None:
        for number in range(200):
            await queue.submit(Submission(f"task-{number}", {"text": "x" * 500}))

    with_queue(path, fill)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))

    async def look(queue: SqliteQueue) -> None:
        await queue.status("task-100")

    with pytest.raises(WorkerBroken, match=r"queue\.db is damaged .*stop all workers.*\.recover"):
        with_queue(path, look)


def test_a_folder_that_cannot_be_made_is_an_error_of_the_operator(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/queue\.db cannot be opened"):
        with_queue(tmp_path / "file" / "queue.db", submit_one)


def test_a_full_disk_is_unavailable_and_loses_no_task(path: Path) -> None:
    async def fill(queue: SqliteQueue) -> None:
        await submit_one(queue)
        await queue._do(lambda ledger: ledger.db.execute("PRAGMA max_page_count = 20").fetchall())
        with pytest.raises(Unavailable, match=r"queue\.db does not answer: database or disk is full"):
            await queue.submit(Submission("large", {"text": "x" * 500_000}))
        await queue._do(lambda ledger: ledger.db.execute("PRAGMA max_page_count = 100000").fetchall())
        assert await queue.submit(Submission("large", {"text": "x" * 500_000}))
        assert (await queue.status("one")).state == "pending"

    with_queue(path, fill)


@pytest.mark.parametrize("replace", [False, True], ids=["removed", "replaced"])
def test_a_file_that_is_not_the_one_that_was_opened_is_not_written_any_more(path: Path, replace: bool) -> None:
    async def work(queue: SqliteQueue) -> None:
        await submit_one(queue)
        (claim,) = await queue.claim(1, lease=LONG, wait=0)
        path.rename(path.with_name("kept.db"))  # noqa: ASYNC240  nothing else runs
        if replace:
            async with closing_queue(SqliteQueue(path, "")) as other:
                await submit_one(other)
        for call in (queue.claim(1, lease=LONG, wait=0), queue.resolve(claim, COMPLETED), queue.status("one")):
            with pytest.raises(Unavailable, match=r"queue\.db was removed or replaced while it was in use"):
                await call

    with_queue(path, work)
    assert path.exists() == replace


def test_another_program_that_writes_makes_it_unavailable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_file, "BUSY_TIMEOUT", 0.05)

    async def compete(queue: SqliteQueue) -> None:
        await submit_one(queue)
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="database is locked"):
            await queue.submit(Submission("two", {}))
        db.close()
        assert await queue.submit(Submission("two", {}))

    with_queue(path, compete)


def test_a_closed_queue_is_not_used_again(path: Path) -> None:
    async def close_twice(queue: SqliteQueue) -> None:
        await submit_one(queue)
        await queue.close()
        await queue.close()
        with pytest.raises(Bug):
            await queue.status("one")
        with pytest.raises(Bug):
            await queue.claim(1, lease=LONG, wait=0)

    with_queue(path, close_twice)
    assert list(path.parent.glob("queue.db.wake/*")) == []


def test_senseless_arguments_are_a_bug_of_the_caller(path: Path) -> None:
    async def call(queue: SqliteQueue) -> None:
        for n, lease, wait in ((0, 1, 0), (1, -1, 0), (1, float("nan"), 0), (1, 1, float("inf"))):
            with pytest.raises(Bug):
                await queue.claim(n, lease=lease, wait=wait)

    with_queue(path, call)


def test_submissions_are_durable_and_claims_are_cheap(path: Path) -> None:
    async def synchronous(queue: SqliteQueue) -> int:
        return await queue._do(lambda ledger: int(ledger.db.execute("PRAGMA synchronous").fetchone()[0]))

    async def look(queue: SqliteQueue) -> None:
        normal, full = 1, 2
        await submit_one(queue)
        assert await synchronous(queue) == full
        [claim] = await queue.claim(1, lease=LONG, wait=0)
        assert await synchronous(queue) == normal
        await queue.resolve(claim, COMPLETED)
        assert await synchronous(queue) == full

    with_queue(path, look)


# ---- the clock ------------------------------------------------------------------------------------------


def test_a_step_of_the_wall_clock_changes_no_lease(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def step(queue: SqliteQueue) -> None:
        await submit_one(queue)
        [claim] = await queue.claim(1, lease=LONG, wait=0)
        for hours in (+1000, -1000):
            monkeypatch.setattr("taskrunner.queues.ledger.database.Ledger.wall", lambda _, h=hours: 2e9 + h * 3600.0)
            assert not await queue.claim(1, lease=LONG, wait=0)
        assert await queue.resolve(claim, COMPLETED) == "applied"

    with_queue(path, step)


def test_leases_are_kept_as_readings_of_the_boot_clock(path: Path) -> None:
    async def look(queue: SqliteQueue) -> None:
        await submit_one(queue)
        before = boottime.boottime()
        await queue.claim(1, lease=LONG, wait=0)
        due = await queue._do(lambda ledger: ledger.db.execute("SELECT due FROM task").fetchone()["due"])
        assert before + LONG <= due <= boottime.boottime() + LONG

    with_queue(path, look)


def test_a_reboot_frees_every_run_and_ends_every_delay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims: list[Claim] = []

    async def before(queue: SqliteQueue) -> None:
        for task_id in ("held", "released", "once-only"):
            await queue.submit(Submission(task_id, {}, retries=0 if task_id == "once-only" else 5))
        claims.extend(await queue.claim(3, lease=LONG, wait=0))
        await queue.release(claims[1], delay=LONG, reason="not here")

    async def after(queue: SqliteQueue) -> None:
        again = await queue.claim(3, lease=LONG, wait=0)
        assert [(claim.task_id, claim.run_id) for claim in again] == [("held", 1), ("released", 1)]
        with pytest.raises(ClaimLost, match="superseded"):
            await queue.resolve(claims[0], COMPLETED)
        assert str((await queue.status("once-only")).resolution) == "exception (claim-expired)"

    with_queue(path, before)
    with monkeypatch.context() as patched:
        patched.setattr(ledger_file, "boot_id", lambda: "another boot")
        with_queue(path, after)


def test_the_boot_is_known_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sysctl = tmp_path / "sysctl"
    sysctl.write_text(f'#!/bin/sh\n[ "$*" = "-n {boottime.MACOS_BOOT_ID}" ] && echo 6A1C2F4E\n')
    sysctl.chmod(0o755)
    monkeypatch.setattr(boottime, "LINUX_BOOT_ID", tmp_path / "nothing")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert boottime.boot_id.__wrapped__() == "6A1C2F4E"
    sysctl.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(WorkerBroken, match="does not say when it was booted"):
        boottime.boot_id.__wrapped__()


# ---- the size of the queue ------------------------------------------------------------------------------


def test_no_query_scans_the_tasks_in_flight(path: Path) -> None:
    """Each search uses the partial index of its own state, so its cost does not grow with the others."""
    queries: set[str] = set()

    async def trace(queue: SqliteQueue) -> None:
        await submit_one(queue)
        await queue._do(lambda ledger: ledger.db.set_trace_callback(queries.add))
        [claim] = await queue.claim(1, lease=LONG, wait=0)
        await queue.reclaim(claim, lease=LONG)
        assert not await queue.claim(1, lease=LONG, wait=0)
        await queue.release(claim, delay=0, reason="")
        await queue.cancel("one")
        await queue.retry("one")
        await queue.status("one")
        await queue._do(lambda ledger: ledger.db.set_trace_callback(None))
        for query in queries:
            if query.startswith(("SELECT", "\nSELECT", "UPDATE")):
                plan = await queue._do(lambda ledger, q=query: ledger.db.execute(f"EXPLAIN QUERY PLAN {q}").fetchall())
                steps = [row["detail"] for row in plan]
                walks = [step for step in steps if step.startswith("SCAN") and "USING" not in step]
                assert not [step for step in walks if "CONSTANT ROW" not in step], (query, steps)
                assert not [step for step in steps if "TEMP B-TREE" in step], (query, steps)
                for state in ("ready", "running", "delayed", "scheduled"):
                    if f"WHERE state = '{state}'" in query:
                        assert any(f"INDEX task_{state}" in step for step in steps), (query, steps)

    with_queue(path, trace)
    assert sum("WHERE state = 'ready'" in query for query in queries) >= 2


def test_many_expired_claims_do_not_delay_one_claim(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.queues.ledger.expiry.MAX_ROWS", 10)
    now = [0.0]

    async def main() -> None:
        queue = SqliteQueue(path, "alice", clock=lambda: now[0])
        for number in range(25):
            await queue.submit(Submission(f"task-{number}", {}))
        assert len(await queue.claim(25, lease=10, wait=0)) == 25
        now[0] = 11.0
        got = [len(await queue.claim(25, lease=10, wait=0)) for _ in range(3)]
        assert got == [10, 10, 5]
        await queue.close()

    asyncio.run(main())


# ---- retries --------------------------------------------------------------------------------------------


def test_a_retry_waits_longer_each_time_unless_only_the_worker_was_lost(path: Path) -> None:
    now = [0.0]

    async def main() -> None:
        queue = SqliteQueue(path, "alice", clock=lambda: now[0])
        await queue.submit(Submission("one", {}, retries=9))
        waits = [await wait_after(queue, exception("intermittent-task", "")) for _ in range(8)]
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
        assert await wait_after(queue, exception("worker-shutdown", "")) == 0
        await queue.cancel("one")
        await queue.submit(Submission("two", {}, retries=9))
        waits = [await wait_after(queue, exception("resource-unavailable", "")) for _ in range(7)]
        assert waits == [2, 4, 8, 16, 32, 60, 60]
        await queue.close()

    async def wait_after(queue: SqliteQueue, resolution: Resolution) -> float:
        [claim] = await queue.claim(1, lease=LONG, wait=0)
        await queue.resolve(claim, resolution)
        query = "SELECT due FROM task ORDER BY seq DESC"
        due = await queue._do(lambda ledger: ledger.db.execute(query).fetchone()["due"])
        began = now[0]
        now[0] = began if due is None else float(due)
        return now[0] - began

    asyncio.run(main())


# ---- submissions ----------------------------------------------------------------------------------------


def test_every_complaint_about_a_submission_comes_at_once(path: Path) -> None:
    wrong: Any = Submission("../etc", [], priority=True, retries=-1, not_before=3, deadline="now")  # type: ignore[arg-type]

    async def submit(queue: SqliteQueue) -> None:
        with pytest.raises(MalformedPayload) as refused:
            await queue.submit(wrong)
        fields = [complaint.path for complaint in refused.value.complaints]
        assert fields == ["task_id", "priority", "retries", "document", "not_before", "deadline"]

    with_queue(path, submit)


def test_a_document_that_is_no_json_is_refused(path: Path) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"deeper": deep}

    async def submit(queue: SqliteQueue) -> None:
        for document in ({"a": object()}, {"a": float("nan")}, {"a": b"bytes"}, {"a": 10**5000}, deep):
            with pytest.raises(MalformedPayload, match="document: is not plain JSON"):
                await queue.submit(Submission("one", document))  # type: ignore[dict-item]
        assert await queue.submit(Submission("one", {"a": "\ud800", "b": (1, 2)}))
        assert not await queue.submit(Submission("one", {"b": [1, 2], "a": "\ud800"}))

    with_queue(path, submit)


def test_a_resolution_is_stored_whole(path: Path) -> None:
    ending = with_result(failed("exit-code", "it returned 3"))

    async def resolve(queue: SqliteQueue) -> None:
        await submit_one(queue)
        [claim] = await queue.claim(1, lease=LONG, wait=0)
        await queue.resolve(claim, ending)
        assert (await queue.status("one")).resolution == ending

    with_queue(path, resolve)


def with_result(resolution: Resolution) -> Resolution:
    return Resolution(
        resolution.kind,
        resolution.reason,
        resolution.message,
        exit_code=3,
        result={"digests": ["sha256:ab"], "n": None},
    )


# ---- the end of the process -----------------------------------------------------------------------------


def test_a_program_ends_although_its_queue_hangs(path: Path) -> None:
    """A thread that waits for a lock does not keep its process alive."""
    script = (
        "import asyncio, fcntl, pathlib, sys\n"
        "from taskrunner.model import Submission\n"
        "from taskrunner.queues.sqlite import queue as sqlite\n"
        "sqlite.CALL_LIMIT = sqlite.CLOSE_LIMIT = 0.1\n"
        "async def main():\n"
        "    queue = sqlite.SqliteQueue(pathlib.Path(sys.argv[1]), 'x')\n"
        "    await queue.submit(Submission('one', {}))\n"
        "    lock = open(sys.argv[1] + '.lock')\n"
        "    fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "    try:\n"
        "        await queue.submit(Submission('two', {}))\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__)\n"
        "    await queue.close()\n"
        "asyncio.run(main())\n"
    )

    async def run() -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(path), stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
        return process.returncode, out

    assert asyncio.run(run()) == (0, b"Unavailable\n")


def test_a_queue_works_after_its_idle_thread_has_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.blocking.IDLE_TIME", 0.01)

    async def use(queue: SqliteQueue) -> None:
        await submit_one(queue)
        for thread in threading.enumerate():
            if thread.name == "queue queue.db":
                thread.join()
        assert "queue queue.db" not in [thread.name for thread in threading.enumerate()]
        release = threading.Event()
        threading.Thread(
            target=release.wait, daemon=True
        ).start()  # takes the ended thread's id, which would be used again
        [claim] = await queue.claim(1, lease=LONG, wait=0)
        assert await queue.resolve(claim, COMPLETED) == "applied"
        release.set()

    with_queue(path, use)


# ---- grants of cancelled claims -------------------------------------------------------------------------


def test_a_grant_whose_claim_was_cancelled_is_released_even_by_a_queue_that_closes(path: Path) -> None:
    async def main() -> None:
        queue, other = SqliteQueue(path, "alice"), SqliteQueue(path, "bob")
        await queue.claim(1, lease=LONG, wait=0)  # binds the socket
        await submit_one(queue)
        claiming = asyncio.create_task(queue.claim(1, lease=LONG, wait=LONG))
        await asyncio.sleep(0)  # the claim is in the file's thread now
        claiming.cancel()
        await queue.close()
        with pytest.raises(asyncio.CancelledError):
            await claiming
        [claim] = await other.claim(1, lease=LONG, wait=20)
        assert claim.task_id == "one"
        await other.close()

    asyncio.run(main())


@pytest.mark.parametrize(("home", "known"), [("/var/lib/taskrunner", "/var/lib/taskrunner"), ("/home/\udcff", "")])
def test_a_run_knows_the_home_of_its_worker(path: Path, home: str, known: str) -> None:
    async def run() -> None:
        async with closing_queue(SqliteQueue(path, "alice", home=Path(home))) as queue:
            await queue.submit(Submission("t", {}))
            await queue.claim(1, lease=60, wait=0)
            assert [each.home for each in (await queue.status("t")).runs] == [known]

    asyncio.run(run())
