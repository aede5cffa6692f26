"""A privileged container on a real daemon, where the operator allows it.

The machine of a test may lack capabilities itself, and runc then starts no privileged container. The daemon of these
tests has a runtime that asks runc for those that the machine has, and changes nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskrunner.errors import Unavailable
from taskrunner.interfaces.results import Results
from taskrunner.schema.decode import decode
from taskrunner_docker import DockerOptions, DockerPayload
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.container.start_errors import start_error
from taskrunner_docker.isolation import ContainerIsolation
from tests.support.docker_bench import DockerBench
from tests.support.own_docker import OwnDocker, own_docker

RUNTIME = """#!{python}
import json, os, sys
NAMES = {names}
for word, bundle in zip(sys.argv, sys.argv[1:]):
    if word == "--bundle" and "create" in sys.argv:
        with open(bundle + "/config.json") as file:
            config = json.load(file)
        kept = config["process"]["capabilities"]
        config["process"]["capabilities"] = {{
            name: [each for each in listed if each in NAMES] for name, listed in kept.items()
        }}
        with open(bundle + "/config.json", "w") as file:
            json.dump(config, file)
os.execvp("runc", ["runc", *sys.argv[1:]])
"""
CAPABILITIES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
]
"""By their numbers, as in linux/capability.h. Docker 20.10 does not know those after them."""


def bounding(status: str) -> int:
    (line,) = [line for line in status.splitlines() if line.startswith("CapBnd")]
    return int(line.split()[1], 16)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[OwnDocker]:
    has = bounding(Path("/proc/self/status").read_text())
    names = [f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if has >> number & 1]
    runtime = tmp_path / "runtime"
    runtime.write_text(RUNTIME.format(python=sys.executable, names=names))
    runtime.chmod(0o755)
    with own_docker(runtime=runtime) as running:
        running.load_base_image()
        yield running


async def finished(bench: DockerBench, script: str) -> Results:
    payload = DockerPayload(
        image="taskrunner-base",
        command=("sh", "-c", script),
        network="none",
        isolation=ContainerIsolation(privileged=True),
    )
    results = await (await (await bench.loaded(payload)).start({})).wait()
    await results.dispose()
    return results


def test_a_privileged_container_has_all_that_the_machine_has(daemon: OwnDocker, tmp_path: Path) -> None:
    bench = DockerBench(tmp_path / "home", decode(DockerOptions, {"host": daemon.host, "allow": {"privileged": True}}))
    script = """
        cat /proc/self/status; test -c /dev/loop-control -o -c /dev/fuse -o -c /dev/kmsg && echo devices
        mkdir /tmp/m && mount -t tmpfs none /tmp/m && echo mounted
        ip link set lo down && echo changed the network
    """
    assert bench.run(lambda: finished(bench, script)).exit_code == 0
    lines = bench.log.text.splitlines()
    known = (1 << len(CAPABILITIES)) - 1
    assert bounding(bench.log.text) & known == bounding(Path("/proc/self/status").read_text()) & known
    assert {"NoNewPrivs:\t0", "Seccomp:\t0", "devices", "mounted", "changed the network"} <= set(lines)


def test_a_daemon_without_privileges_of_its_own_is_told_by_name() -> None:
    told = "OCI runtime create failed: unable to start container process: unable to apply caps: operation not permitted"
    error = start_error("busybox", DockerError(500, told))
    assert isinstance(error, Unavailable)
    assert str(error).startswith("isolation: this worker's Docker lacks itself what the task asks for")
