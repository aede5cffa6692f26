"""The daemon of a test's own never comes to life among the machine's mounts and networks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.own_docker import entering


@pytest.mark.parametrize("separate", [[], ["unshare", "--mount"], ["unshare", "--net"]])
def test_no_command_is_started_in_a_namespace_of_the_tests(separate: list[str]) -> None:
    """In its place is a command that says that it was started."""
    with subprocess.Popen(
        [*separate, "sh", "-c", "echo there; read end"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"there\n"
        started = subprocess.run([*entering(holder.pid), "echo", "started"], check=False, capture_output=True)
    assert (started.returncode, started.stdout) == (97, b"")


def test_a_command_is_started_in_namespaces_of_its_own() -> None:
    with subprocess.Popen(
        ["unshare", "--mount", "--net", "sh", "-c", "echo there; read end"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"there\n"
        seen = subprocess.run([*entering(holder.pid), "readlink", "/proc/self/ns/net"], check=True, capture_output=True)
    assert seen.stdout.decode().strip() != str(Path("/proc/self/ns/net").readlink())
