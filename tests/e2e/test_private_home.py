"""What other users of the machine can read in the home: nothing, with any umask. The worker is root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.e2e import Site

STRANGER = "lp"

READABLE = """
import os, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[1]))
for path in sys.stdin.read().split("\\0"):
    try:
        if os.path.isdir(path):
            os.listdir(path)
        else:
            open(path, "rb").close()
    except OSError:
        continue
    print(path)
"""


@pytest.fixture
def open_site(base_image: str) -> Iterator[Site]:
    """A home that others can reach: pytest's folders are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="taskrunner-"))
    folder.chmod(0o755)
    site = Site(folder)
    site.home.mkdir()
    site.home.chmod(0o755)
    yield site
    site.close()
    shutil.rmtree(folder)


def readable(site: Site) -> list[str]:
    """The files and folders below the home that a stranger can read or list."""
    paths = [str(path) for path in site.home.rglob("*")]
    entry = pwd.getpwnam(STRANGER)
    command = [sys.executable, "-c", READABLE, str(entry.pw_uid), str(entry.pw_gid)]
    printed = subprocess.run(command, input="\0".join(paths), capture_output=True, text=True, check=True).stdout
    return [path for path in printed.splitlines() if Path(path) != site.home]


@pytest.mark.parametrize("options", ["", '[process]\nuser = "news"\n', '[process]\nusers = ["games", "uucp"]\n'])
@pytest.mark.parametrize("umask", [0, 0o022])
def test_a_stranger_reads_nothing_in_the_home(open_site: Site, options: str, umask: int) -> None:
    site = open_site
    site.configure(f"capacity = 2\nmin_free_disk = 0\n{options}")
    artifacts = [{"name": "public/out", "path": "out"}]
    script = "mkdir -p out/d; echo secret > out/d/f; chmod -R a+rwX .; echo secret > kept/f; echo a line"
    before = os.umask(umask)
    try:
        more = {"artifacts": artifacts, "caches": [{"name": "kept", "path": "kept"}]}
        task = site.submit(site.process(f"{script}; sleep {site.token}", **more))
        done = site.submit(site.process(script + "; mkdir -p kept", id="done", artifacts=artifacts))
        worker = site.worker()
    finally:
        os.umask(before)
    site.wait_for_sleep()
    site.wait_for_state(done, "resolved")
    assert readable(site) == []
    assert list(site.home.glob("artifacts/done/0/log"))
    worker.terminate()
    site.command("cancel", task)
    worker.wait()
    assert readable(site) == []
