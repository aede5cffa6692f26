from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.limited_tests import pytest_runtest_protocol  # noqa: F401  a hook of pytest
from tests.support.nameless_images import pytest_sessionfinish  # noqa: F401  another one
from tests.support.parallel_tests import pytest_xdist_make_scheduler  # noqa: F401  another one


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB. Needs the right to mount one."""
    if sys.platform != "linux" or os.geteuid():
        pytest.fail("this test mounts a small disk: run it as root on Linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "taskrunner-test", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.fixture
def open_tmp() -> Iterator[Path]:
    """A temporary folder that other users can reach; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="taskrunner-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
