"""The copy of a mount in the folder of a process, whoever the process is."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from taskrunner.connections import Connections, Interrupted
from taskrunner.errors import MalformedPayload, TaskFailed
from taskrunner_process.accounts.account import account_of
from taskrunner_process.accounts.lease import Accounts
from taskrunner_process.sealed_copy import copy_sealed
from tests.process.process_bench import KINDS, bench_on

AS_ITS_ACCOUNT = """
id -un; cat data/file data/deep/link; data/deep/tool; cat single
for path in data/file data/deep single; do test -w "$path" && echo "writes to $path"; done
rm -rf data 2>/dev/null; cat data/file
"""


def content(folder: Path) -> Path:
    """As a worker has sealed it."""
    top = folder / "content"
    (top / "deep").mkdir(parents=True)
    (top / "file").write_text("treasure\n")
    (top / "deep/tool").write_text("#!/bin/sh\necho tool\n")
    os.link(top / "file", top / "deep/other")
    (top / "deep/link").symlink_to("../file")
    (top / "deep/nowhere").symlink_to("/nowhere")
    (top / "file").chmod(0o444)
    (top / "deep/tool").chmod(0o555)
    return top


def test_an_account_reads_its_mount_and_cannot_change_it(open_tmp: Path) -> None:
    top = content(open_tmp)

    async def main() -> None:
        async with bench_on(KINDS[0], open_tmp, accounts=Accounts(shared=account_of("nobody", open_tmp))) as bench:
            engine = await bench.engine("sh", "-c", AS_ITS_ACCOUNT)
            await engine.attach_mount(top, "data")
            await engine.attach_mount(top / "file", "single")
            results = await (await engine.start({})).wait()
            assert bench.text == "nobody\ntreasure\ntreasure\ntool\ntreasure\ntreasure\n"
            await results.dispose()
            assert list(bench.folder.iterdir()) == []

    asyncio.run(main())
    assert (top / "file").read_text() == "treasure\n"


def test_a_copy_keeps_links_modes_and_times_and_is_not_larger(tmp_path: Path) -> None:
    top, copy = content(tmp_path), tmp_path / "copy"
    os.utime(top / "file", ns=(0, 1_600_000_000_123_456_789))
    copy_sealed(top, copy, Connections().check)
    assert (copy / "deep/link").readlink() == Path("../file")
    assert (copy / "deep/nowhere").readlink() == Path("/nowhere")
    assert (copy / "file").samefile(copy / "deep/other")
    assert not (copy / "file").samefile(top / "file"), "a hard link to the content would be writable by its owner"
    assert (copy / "file").stat().st_mtime_ns == 1_600_000_000_123_456_789
    modes = {name: stat.S_IMODE((copy / name).stat().st_mode) for name in (".", "deep", "file", "deep/tool")}
    assert modes == {".": 0o555, "deep": 0o555, "file": 0o444, "deep/tool": 0o555}


def test_a_copy_that_is_given_up_ends_at_the_next_file(tmp_path: Path) -> None:
    connections = Connections()
    connections.interrupt()
    with pytest.raises(Interrupted):
        copy_sealed(content(tmp_path), tmp_path / "copy", connections.check)
    assert list((tmp_path / "copy").iterdir()) == []


def test_a_link_of_the_source_does_not_lead_the_copy_out(open_tmp: Path) -> None:
    async def main() -> None:
        async with bench_on(KINDS[0], open_tmp) as bench:
            engine = await bench.engine("true")
            (bench.folder / "out").symlink_to(open_tmp)
            (bench.folder / "file").touch()
            for target in ("out/data", "out", "file", "file/data", ".tmp/data", "/data", "."):
                with pytest.raises(MalformedPayload) as caught:
                    await engine.attach_mount(content(open_tmp / target.strip("/.")), target)
                assert [complaint.path for complaint in caught.value.complaints] == ["mounts"]
            assert not (open_tmp / "data/file").exists()
            await engine.discard()

    asyncio.run(main())


def test_paths_that_are_too_long_for_a_copy_are_the_authors_fault(open_tmp: Path) -> None:
    async def main() -> None:
        async with bench_on(KINDS[0], open_tmp) as bench:
            engine = await bench.engine("true")
            with pytest.raises(TaskFailed, match="too long"):
                await engine.attach_mount(content(open_tmp), "/".join(["x" * 250] * 16 + ["y" * 79]))
            await engine.discard()

    asyncio.run(main())
