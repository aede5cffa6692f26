import asyncio
import errno
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.interfaces.artifacts import INDEX_NAME, LOG_NAME
from taskrunner.interfaces.log import index_of
from taskrunner.model import RunKey
from taskrunner.stores import artifact_writer, store_disk
from taskrunner.stores.folder import FolderStore
from taskrunner.testing.conformance.artifacts.conformance import ArtifactStoreConformance
from taskrunner.testing.conformance.artifacts.harness import RUN, body
from tests.support.killed import run_until_ready_and_kill
from tests.support.queue_processes import ROOT, until


class TestFolderStore(ArtifactStoreConformance):
    @pytest.fixture(autouse=True)
    def _root(self, tmp_path: Path) -> None:
        self.root = tmp_path / "artifacts"

    def store(self) -> FolderStore:
        return FolderStore(self.root)

    async def kept_bytes(self) -> int:
        return sum(path.stat().st_size for path in files(self.root))


def data_files(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*/*/*/*") if path.parent.name == "data")


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_a_replaced_or_interrupted_upload_leaves_no_file(tmp_path: Path) -> None:
    async def interrupted() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    async def main() -> None:
        store = FolderStore(tmp_path)
        await store.put(RUN, "public/report.xml", body(b"first"))
        await store.put(RUN, "public/report.xml", body(b"second"))
        with pytest.raises(ConnectionResetError):
            await store.put(RUN, "public/report.xml", interrupted())

    asyncio.run(main())
    [data] = data_files(tmp_path)
    assert data.name.endswith("-report.xml")
    assert len(files(tmp_path)) == 2


PUT_FOR_EVER = """
import asyncio, pathlib, sys
from taskrunner.model import RunKey
from taskrunner.stores.folder import FolderStore

async def endless():
    while True:
        yield bytes(100000)

asyncio.run(FolderStore(pathlib.Path(sys.argv[1])).put(RunKey("a-task", 0), "endless", endless()))
"""


@pytest.mark.parametrize("next_call", ["put", "list"])
def test_the_file_of_a_killed_writer_is_removed_and_that_of_a_living_one_is_not(tmp_path: Path, next_call: str) -> None:
    def big() -> bool:
        return any(path.stat().st_size > 1_000_000 for path in data_files(tmp_path))

    async def call() -> None:
        store = FolderStore(tmp_path)
        await (store.put(RUN, "next", body(b"next")) if next_call == "put" else store.list(RUN))

    process = subprocess.Popen([sys.executable, "-c", PUT_FOR_EVER, str(tmp_path)], cwd=ROOT)
    try:
        until(big)
        process.send_signal(19)  # suspended, so that it does not fill the disk
        asyncio.run(call())
        assert big()
    finally:
        process.kill()
        process.wait()
    asyncio.run(call())
    assert not big()
    assert len(data_files(tmp_path)) == (next_call == "put")


def test_data_without_an_entry_is_not_listed_and_is_removed(tmp_path: Path) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path)
        kept = await store.put(RUN, "kept", body(b"kept"))
        (data_files(tmp_path)[0].parent / "0123456789abcdef-report.xml").write_bytes(b"whole, but without an entry")
        assert await store.list(RUN) == [kept]

    asyncio.run(main())
    assert len(data_files(tmp_path)) == 1


def test_the_log_is_a_second_name_of_the_spool_or_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, store = tmp_path / "spool", FolderStore(tmp_path / "store")
    spool.write_bytes(b"line\n")
    asyncio.run(store.put_log(RUN, spool))
    [log] = files(tmp_path / "store")
    assert log.samefile(spool)

    def other_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "hardlink_to", other_disk)
    asyncio.run(store.put_log(RUN, spool))
    assert not log.samefile(spool)
    assert log.read_bytes() == b"line\n"
    assert files(tmp_path / "store") == [log]


def test_an_index_that_cannot_be_kept_costs_the_times_and_not_the_log(tmp_path: Path) -> None:
    spool, store = tmp_path / "spool", FolderStore(tmp_path / "store")
    spool.write_bytes(b"line\n")
    index_of(spool).write_bytes(b"of the first log")
    asyncio.run(store.put_log(RUN, spool))
    index_of(spool).unlink()
    index_of(spool).mkdir()
    asyncio.run(store.put_log(RUN, spool))
    assert [path.name for path in files(tmp_path / "store")] == ["log"]


def test_a_log_without_a_spool_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(FolderStore(tmp_path / "store").put_log(RUN, tmp_path / "nothing"))


@pytest.mark.parametrize("task_id", ["", "..", ".hidden", "a/b", "a\0b", "x" * 200])
def test_a_bad_task_id_never_reaches_the_disk(tmp_path: Path, task_id: str) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path / "store")
        for run in (RunKey(task_id, 0), RunKey("fine", -1)):
            with pytest.raises(ValueError, match="names no run"):
                await store.put(run, "a", body(b"evil"))
            with pytest.raises(ValueError, match="names no run"):
                await store.list(run)

    asyncio.run(main())
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", [LOG_NAME, INDEX_NAME, "x" * 1025, "a\nb", "a\0b"])
def test_names_that_are_reserved_or_harmful_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"reserved for the log|names no artifact"):
        asyncio.run(FolderStore(tmp_path).put(RUN, name, body(b"")))


def test_a_store_that_refuses_is_an_internal_failure(tmp_path: Path) -> None:
    (tmp_path / "a-task").write_text("a file where the folder should be")
    with pytest.raises(TaskFailedInternally, match="the artifact store refused: Not a directory"):
        asyncio.run(FolderStore(tmp_path).put(RUN, "a", body(b"")))


def test_a_full_disk_is_reported_and_leaves_nothing() -> None:
    """A limit on the size of a file takes the place of a full disk: `/dev/full` cannot be a folder."""
    script = (
        "import asyncio, pathlib, resource, signal, sys, tempfile\n"
        "from taskrunner.errors import TaskFailedInternally\n"
        "from taskrunner.model import RunKey\n"
        "from taskrunner.stores.folder import FolderStore\n"
        "async def body():\n"
        "    for _ in range(100):\n"
        "        yield bytes(10000)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "with tempfile.TemporaryDirectory() as root:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))\n"
        "    try:\n"
        "        asyncio.run(FolderStore(pathlib.Path(root)).put(RunKey('one', 0), 'a', body()))\n"
        "    except TaskFailedInternally as error:\n"
        "        print(error, [path for path in pathlib.Path(root).rglob('*') if path.is_file()])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "the artifact store refused: File too large []\n"


def test_a_disk_that_hangs_is_unavailable_and_what_it_opens_later_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "a-task" / "0" / "log"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)  # opening it waits for a writer
    monkeypatch.setattr(store_disk, "CALL_LIMIT", 0.1)

    async def read() -> None:
        with pytest.raises(Unavailable, match="did not answer"):
            await anext(FolderStore(tmp_path).get(RUN, LOG_NAME))

    def has_no_reader() -> bool:
        try:
            os.write(writer, b"x")
        except BrokenPipeError:
            return True
        return False

    asyncio.run(read())
    writer = os.open(pipe, os.O_WRONLY)  # now the thread has opened it too
    until(has_no_reader)
    os.close(writer)


def test_an_upload_that_is_removed_before_its_lock_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = artifact_writer.fcntl.flock

    removed: list[Path] = []

    def remove_first(file: object, kind: int) -> None:
        if len(removed) < 2:
            [path] = tmp_path.rglob("*.lock")
            path.unlink()
            removed.append(path)
        flock(file, kind)

    monkeypatch.setattr(artifact_writer.fcntl, "flock", remove_first)
    put = asyncio.run(FolderStore(tmp_path).put(RUN, "a", body(b"a")))
    assert len(set(removed)) == 2
    assert asyncio.run(FolderStore(tmp_path).list(RUN)) == [put]


# ---- many at a time -------------------------------------------------------------------------------------


def test_a_batch_is_listed_at_its_end_and_replaces_what_was_there(tmp_path: Path) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path)
        await store.put(RUN, "a", body(b"old"))
        async with store.batch(RUN) as batch:
            await batch.put(RUN, "a", body(b"new"))
            await batch.put(RUN, "b", body(b"first"))
            await batch.put(RUN, "b", body(b"second, ", b"in pieces, ", b"of three"))
            assert [(each.name, each.size) for each in await store.list(RUN)] == [("a", 3)]
            assert b"".join([piece async for piece in batch.get(RUN, "a")]) == b"old"
        assert [(each.name, each.size) for each in await store.list(RUN)] == [("a", 3), ("b", 27)]
        assert b"".join([piece async for piece in store.get(RUN, "a")]) == b"new"

    asyncio.run(main())
    assert len(data_files(tmp_path)) == 2
    assert len(files(tmp_path)) == 4


def test_a_batch_that_fails_keeps_what_is_complete(tmp_path: Path) -> None:
    async def interrupted() -> AsyncIterator[bytes]:
        yield b"half"
        yield b"of it"
        raise ConnectionResetError

    async def put_both(store: FolderStore) -> None:
        async with store.batch(RUN) as batch:
            await batch.put(RUN, "a", body(b"whole"))
            await batch.put(RUN, "b", interrupted())

    async def main() -> None:
        store = FolderStore(tmp_path)
        with pytest.raises(ConnectionResetError):
            await put_both(store)
        assert [each.name for each in await store.list(RUN)] == ["a"]

    asyncio.run(main())
    assert len(files(tmp_path)) == 2


def test_a_batch_takes_one_sync_for_all_data_before_anything_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sync_all = artifact_writer.sync_all

    def counting(paths: list[Path], *folders: Path) -> None:
        assert not list(tmp_path.rglob("*.json")), "listed before it is on the disk"
        synced.append(len(paths))
        sync_all(paths, *folders)

    monkeypatch.setattr(artifact_writer, "sync_all", counting)

    async def main() -> int:
        store = FolderStore(tmp_path)
        async with store.batch(RUN) as batch:
            for number in range(200):
                await batch.put(RUN, f"many/{number}", body(b"x"))
        return len(await store.list(RUN))

    assert asyncio.run(main()) == 200
    assert synced == [2 * 200]


PUT_MANY_FOR_EVER = """
import asyncio, pathlib, sys
from taskrunner.model import RunKey
from taskrunner.stores.folder import FolderStore

async def body():
    yield b"x"

async def main():
    run = RunKey("a-task", 0)
    async with FolderStore(pathlib.Path(sys.argv[1])).batch(run) as batch:
        for number in range(20):
            await batch.put(run, f"many/{number}", body())
        print("ready", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_a_batch_of_a_killed_writer_is_discarded(tmp_path: Path) -> None:
    run_until_ready_and_kill(PUT_MANY_FOR_EVER, tmp_path)
    assert len(data_files(tmp_path)) == 20

    async def discard() -> None:
        store = FolderStore(tmp_path)
        await store.discard_unfinished(RUN)
        await store.discard_unfinished(RunKey("unknown", 0))

    asyncio.run(discard())
    assert files(tmp_path) == []
    assert not (tmp_path / "unknown").exists()


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_only_the_worker_can_read_it(tmp_path: Path, umask: int) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path / "artifacts")
        await store.put(RUN, "public/a", body(b"a"))
        spool = tmp_path / "spool"
        spool.write_bytes(b"line\n")
        spool.chmod(0o600)
        await store.put_log(RUN, spool)

    before = os.umask(umask)
    try:
        asyncio.run(main())
    finally:
        os.umask(before)
    root = tmp_path / "artifacts"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


# ---- deleting -------------------------------------------------------------------------------------------


async def put_one(store: FolderStore, run: RunKey = RUN) -> None:
    await store.put(run, "public/a", body(b"a"))


def test_a_deletion_that_was_interrupted_is_finished_by_the_next_one(tmp_path: Path) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path)
        await put_one(store)
        (tmp_path / ".deleted").mkdir()
        (tmp_path / RUN.task_id / "0").rename(tmp_path / ".deleted/0123")  # killed in the middle
        assert await store.list(RUN) == []
        await store.delete(RunKey("another", 0))
        assert files(tmp_path) == []

    asyncio.run(main())


def test_the_folder_of_a_task_goes_with_its_last_run(tmp_path: Path) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path)
        for run_id in (0, 1):
            await put_one(store, RunKey("t", run_id))
        await store.delete(RunKey("t", 0))
        assert (tmp_path / "t").is_dir()
        await store.delete(RunKey("t", 1))
        assert not (tmp_path / "t").exists()

    asyncio.run(main())


def test_a_reader_may_read_to_the_end_while_the_run_is_deleted(tmp_path: Path) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path)
        await store.put(RUN, "a", body(bytes(3 << 20)))
        reading = store.get(RUN, "a")
        size = len(await anext(reading))
        await store.delete(RUN)
        async for chunk in reading:
            size += len(chunk)
        assert size == 3 << 20

    asyncio.run(main())


def test_a_put_beside_a_deletion_of_the_tasks_last_run_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        store = FolderStore(tmp_path)
        for number in range(50):
            await put_one(store, RunKey("t", number))
            await asyncio.gather(store.delete(RunKey("t", number)), put_one(store, RunKey("t", number + 1)))
            assert len(await store.list(RunKey("t", number + 1))) == 1

    asyncio.run(main())
