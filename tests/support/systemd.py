"""A service manager of its own for a test: systemd as a user's manager, in its own mount namespace and control group.

systemd need not have started the machine: in the namespace, `/run` says that it did.
"""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from tests.support.queue_processes import until

SYSTEMD = Path("/lib/systemd/systemd")
RUNTIME = "/run/user/0"
JOIN = """\
set -e
for group in "$@"; do echo $$ > "$group/cgroup.procs"; done
exec unshare --mount --cgroup sh -c "$START" sh "$@"
"""
START = """\
set -e
for group in "$@"; do mount --bind "$group" "${group%/*}"; done
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0
exec "$SYSTEMD" --user --log-target=null
"""
"""In namespaces where its own control groups are the only ones: it moves processes of others out of the root group."""
LIMIT = 60.0
"""Seconds for one command; only a broken one reaches it."""


@attrs.frozen
class ServiceManager:
    pid: int
    env: Mapping[str, str]

    def __call__(self, *command: str, status: int | None = 0) -> str:
        """What a command prints that is run under this manager."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-m", *command],
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.env, timeout=LIMIT,
        )  # fmt: skip
        assert status is None or done.returncode == status, done.stdout
        return done.stdout

    def property(self, unit: str, name: str) -> str:
        return self("systemctl", "--user", "show", "--value", "-p", name, unit).strip()


@contextmanager
def service_manager(folder: Path) -> Iterator[ServiceManager]:
    """Runs until the end of the block, with the configuration and the workers of its user in this folder."""
    groups = _own_groups(f"taskrunner-test-{uuid.uuid4().hex[:8]}")
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TASKRUNNER_")},
        "XDG_RUNTIME_DIR": RUNTIME,
        "XDG_CONFIG_HOME": str(folder / "config"),
        "TASKRUNNER_HOME": str(folder / "ho me %h $HOME"),  # what a unit must quote
    }
    start = {**env, "START": START, "SYSTEMD": str(SYSTEMD)}
    try:
        with subprocess.Popen(["sh", "-c", JOIN, "sh", *groups], env=start) as process:
            try:
                until(Path(f"/proc/{process.pid}/root{RUNTIME}/systemd/private").exists)
                yield ServiceManager(process.pid, env)
            finally:
                process.kill()
                until(lambda: not _killed(groups))
    finally:
        for group in groups:
            _remove(group)


def _own_groups(name: str) -> list[Path]:
    """A group in each tree of version 1 that needs no setting, or in the one of version 2."""
    root = Path("/sys/fs/cgroup")
    trees = (
        [root] if (root / "cgroup.controllers").exists() else [each for each in root.iterdir() if each.name != "cpuset"]
    )
    groups = [tree / name for tree in trees if (tree / "cgroup.procs").exists() and not tree.is_symlink()]
    for group in groups:
        group.mkdir()
    return groups


def _killed(groups: list[Path]) -> set[int]:
    """Kills what the manager has started. Returns what was alive."""
    found = set()
    for group in groups:
        for folder, _, _ in os.walk(group):
            found.update(map(int, (Path(folder) / "cgroup.procs").read_text().split()))
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def _remove(group: Path) -> None:
    for path, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(path).rmdir()
