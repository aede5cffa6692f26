"""A Docker daemon of a test's own, which can be stopped and started again, with certificates of its own.

It lives in namespaces of mounts and network that outlive it, so that it finds its containers again, and nothing of the
machine's changes. In the machine's own namespaces it would remove the bridge of the machine's Docker: it is never
started there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import attrs
import docker

from script.base_image import base_layer, static_busybox

_START_TIMEOUT = 60.0  # seconds until it listens
_STOP_TIMEOUT = 30.0  # seconds until it has ended, with its containerd
_OPTIONS = ("--bridge=none", "--iptables=false", "--ip6tables=false")
_DISK_SIZE = 1 << 30  # bytes of a disk of its own, of which the file takes what is used
_PATHS = {"config-file": "daemon.json", "data-root": "data", "exec-root": "exec", "pidfile": "pid"}
ADDRESS = "10.88.0.1"
"""Of its namespace's loopback: Docker takes every registry on 127.0.0.0/8 as one that needs no certificate."""
_HOLD = f"""
set -e
mount -t tmpfs none /etc/docker
mkdir /etc/docker/certs.d
ip link set lo up
ip address add {ADDRESS}/32 dev lo
echo there
exec sleep infinity
"""
_GUARD = """
for kind in mnt net; do
  [ "$(readlink /proc/self/ns/$kind)" != "$(readlink /proc/$0/ns/$kind)" ] || exit 97
done
exec "$@"
"""


def entering(pid: int) -> list[str]:
    """What stands in front of a command that runs in the namespaces of a process. The command is not started if one
    of them is that of the tests themselves: the guard looks from within, when nothing can change any more."""
    return ["nsenter", f"--target={pid}", "--mount", "--net", "sh", "-c", _GUARD, str(os.getpid())]


@attrs.define(eq=False)
class OwnDocker:
    """One daemon. It keeps everything in `folder`."""

    folder: Path
    live_restore: bool
    """Whether its containers go on while it is stopped."""
    storage_driver: str
    _namespaces: subprocess.Popen[bytes]
    _process: subprocess.Popen[str] | None = None

    @property
    def host(self) -> str:
        """As `host` in [docker]."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def certificates(self) -> Path:
        """Its /etc/docker/certs.d, from outside."""
        return Path(f"/proc/{self._namespaces.pid}/root/etc/docker/certs.d")

    @property
    def in_network(self) -> tuple[str, ...]:
        """What stands in front of a command that runs in its network."""
        return ("nsenter", f"--net=/proc/{self._namespaces.pid}/ns/net")

    def start(self) -> None:
        """Returns when it listens."""
        options = [*_OPTIONS, f"--storage-driver={self.storage_driver}"]
        options += [*(f"--{name}={self.folder / path}" for name, path in _PATHS.items())]
        options += ["--live-restore"] if self.live_restore else []
        self._process = process = subprocess.Popen(
            [*entering(self._namespaces.pid), "dockerd", f"--host={self.host}", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        listens = threading.Event()
        lines = list[str]()
        threading.Thread(target=_read, args=(process, lines, listens), daemon=True).start()
        if not listens.wait(_START_TIMEOUT) or not any("API listen on" in line for line in lines):
            raise RuntimeError("the daemon does not start:\n" + "".join(lines[-20:]))

    def mount_disk(self) -> None:
        """Gives it a disk of its own, which can limit the size of a container: with `btrfs`, since XFS has quotas in
        some kernels only. Needs btrfs-progs. Called once, before its start."""
        image, data = self.folder / "disk", self.folder / _PATHS["data-root"]
        data.mkdir()
        with image.open("wb") as file:
            file.truncate(_DISK_SIZE)
        for command in (
            ["mkfs.btrfs", "-q", image],
            [*entering(self._namespaces.pid), "mount", "-o", "loop", image, data],
        ):
            subprocess.run(command, check=True, capture_output=True)

    def stop(self) -> None:
        """Ends it as the system does. Does nothing when it has ended."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_STOP_TIMEOUT)
            self._process = None

    def client(self) -> docker.APIClient:
        return docker.APIClient(self.host, version="auto", timeout=60)

    def load_base_image(self) -> None:
        """The image `taskrunner-base`."""
        path = "ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        with closing(self.client()) as api:
            api.import_image_from_data(base_layer(static_busybox()), repository="taskrunner-base", changes=[path])

    def close(self) -> None:
        """Ends it with all that it has started."""
        with suppress(docker.errors.DockerException), closing(self.client()) as api:
            for container in api.containers(all=True):
                api.remove_container(container, force=True)
        self.stop()
        self._kill_all()
        self._namespaces.kill()
        self._namespaces.wait()

    def _kill_all(self) -> None:
        """The programs that name its folder in their command line."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if f"{self.folder}/" in line:
                        os.kill(int(entry.name), signal.SIGKILL)


@contextmanager
def own_docker(
    *, live_restore: bool = False, runtime: Path | None = None, own_disk: bool = False
) -> Iterator[OwnDocker]:
    """A daemon that listens. Needs root. `runtime` is a program that takes the place of runc. With a disk of its own,
    its driver can limit the size of a container."""
    folder = Path(tempfile.mkdtemp(prefix="docker-"))  # a socket's path has 107 characters at most
    runtimes = {"default-runtime": "own", "runtimes": {"own": {"path": str(runtime)}}} if runtime else {}
    (folder / "daemon.json").write_text(json.dumps(runtimes))
    namespaces = subprocess.Popen(["unshare", "--mount", "--net", "sh", "-c", _HOLD], stdout=subprocess.PIPE)
    daemon = OwnDocker(folder, live_restore, "btrfs" if own_disk else "overlay2", namespaces)
    try:
        assert namespaces.stdout is not None
        with namespaces.stdout as output:
            assert output.readline() == b"there\n", "the namespaces are not made"
        if own_disk:
            daemon.mount_disk()
        daemon.start()
        yield daemon
    finally:
        daemon.close()
        shutil.rmtree(folder)


def _read(process: subprocess.Popen[str], lines: list[str], listens: threading.Event) -> None:
    """To the end, so that the daemon never waits for a reader."""
    assert process.stderr is not None
    with process.stderr as output:
        for line in output:
            lines.append(line)
            if "API listen on" in line:
                listens.set()
    listens.set()  # it has ended
